"""Pictures say every name and number they stand for, and touch no global state."""

import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from hilum.errors import InvalidValueError
from hilum.evaluation import evaluate
from hilum.evaluation.figures import data_uri, figure_to_png, figure_to_svg, with_interval
from hilum.evaluation.pictures import plot_montage, plot_prediction
from hilum.evaluation.plots import plot_aurocs, plot_prevalence, plot_roc
from hilum.evaluation.training_plots import RunCurve, plot_runs, plot_training

NAMES = ["Mass", "Pleural_Thickening", "Hernia"]


@pytest.fixture(scope="module")
def evaluation():
    random = np.random.default_rng(0)
    labels = (random.random((120, 3)) < (0.3, 0.2, 0.0)).astype(float)
    scores = random.random((120, 3)) * 0.5 + 0.4 * labels
    return evaluate(NAMES, labels, scores, num_resamples=50)


def words(figure):
    """All text in a figure."""
    texts = [text.get_text() for text in figure.findobj(lambda part: hasattr(part, "get_text"))]
    return "\n".join(texts)


def test_roc_picture_has_a_panel_per_finding_with_its_auroc(evaluation):
    figure = plot_roc(evaluation)
    told = words(figure)
    for name in ("Mass", "Pleural Thickening", "Hernia", "Any finding"):
        assert name in told
    assert f"AUC {evaluation.findings['Mass'].auroc:.2f}" in told
    assert "undefined\nnone of 120 has it" in told


def test_roc_line_is_the_curve(evaluation):
    line = plot_roc(evaluation).axes[0].lines[1]
    np.testing.assert_equal(line.get_ydata(), evaluation.findings["Mass"].roc.tpr)


def test_auroc_bars_carry_value_interval_and_undefined(evaluation):
    told = words(plot_aurocs(evaluation))
    for name in ("Mass", "Pleural_Thickening"):
        result = evaluation.findings[name]
        assert with_interval(result.auroc, result.auroc_ci95) in told
    assert "undefined: none of 120 has it" in told
    assert "guessing" in told
    assert plot_aurocs(evaluation).axes[0].get_xlim() == (0, 1)


def test_single_finding_is_not_repeated_as_any_and_mean():
    single = evaluate(["Mass"], [0, 1, 0, 1], [0.1, 0.9, 0.2, 0.8], num_resamples=0)
    assert "Any finding" not in words(plot_roc(single)) + words(plot_aurocs(single))


def test_all_positive_and_unlabelled_findings_say_why():
    labels = [[1, np.nan], [1, np.nan]]
    told = words(plot_aurocs(evaluate(["A", "B"], labels, [[0.1, 0.2], [0.3, 0.4]])))
    assert "all 2 have it" in told
    assert "no known labels" in told


def test_prevalence_says_counts_and_shares():
    told = words(plot_prevalence({"Hernia": 227, "No Finding": 60361}, 112120))
    assert "227 (0.2 %)" in told
    assert "60,361 (53.8 %)" in told
    with pytest.raises(InvalidValueError, match="num_images"):
        plot_prevalence({"Hernia": 0}, 0)


def test_training_curves_show_what_was_measured():
    history = [
        {"epoch": 0, "train_loss": 0.5, "valid_loss": 0.6, "valid_mean_auroc": None, "lr": 1e-3},
        {"epoch": 1, "train_loss": 0.4, "valid_loss": None, "lr": 1e-4},
    ]
    figure = plot_training(history)
    loss, auroc, rate = figure.axes
    np.testing.assert_equal(loss.lines[0].get_ydata(), [0.5, 0.4])
    np.testing.assert_equal(loss.lines[1].get_ydata(), [0.6, np.nan])
    assert not auroc.lines
    assert "no validation AUC values" in words(figure)
    np.testing.assert_equal(rate.lines[0].get_ydata(), [1e-3, 1e-4])
    with pytest.raises(InvalidValueError, match="history"):
        plot_training([])


def curve(name, losses, aurocs, *, batch=10, seconds=60.0):
    rows = [
        {
            "epoch": at,
            "step": batch * (at + 1),
            "train_loss": 1.1 * loss,
            "valid_loss": loss,
            "valid_mean_auroc": auroc,
            "valid_auroc": [auroc, None if auroc is None else auroc - 0.1],
            "lr": 1e-3 / (at + 1),
            "images_per_s": 20.0,
            "seconds": seconds,
        }
        for at, (loss, auroc) in enumerate(zip(losses, aurocs, strict=True))
    ]
    return RunCurve(name=name, rows=rows, steps_per_epoch=batch)


def test_over_steps_each_finding_has_a_line_and_the_rate_is_that_of_every_step():
    rates = [(step, 1e-3 * step) for step in range(25)]
    rows = curve("a", [0.6, 0.5], [0.7, 0.8]).rows
    _, auroc, rate = plot_training(rows, over="steps", rates=rates).axes
    assert [line.get_ydata()[-1] for line in auroc.lines] == [0.8, pytest.approx(0.7), 0.8]
    np.testing.assert_equal(auroc.lines[0].get_xdata(), [10, 20])
    assert len(rate.lines[0].get_xdata()) == 25


def test_runs_of_other_batch_sizes_share_an_axis_of_epochs():
    runs = [curve("small batches", [0.6, 0.5], [0.7, 0.8], batch=10)]
    runs += [curve("large batches", [0.7, 0.6], [0.6, None], batch=2, seconds=30.0)]
    figure = plot_runs(runs)
    for line in figure.axes[1].lines[:2]:
        np.testing.assert_equal(line.get_xdata(), [1, 2])
    np.testing.assert_equal(figure.axes[5].lines[1].get_xdata(), [0.5, 1.0])
    assert "small batches" in words(figure)


def test_runs_without_known_epochs_are_drawn_over_steps_and_gaps_are_said():
    rows = [{"epoch": 0, "step": 40, "train_loss": 1.0, "seconds": 3.0}]
    figure = plot_runs([RunCurve(name="a", rows=rows)])
    assert "Optimizer steps" in words(figure)
    assert "nothing measured" in words(figure)
    with pytest.raises(InvalidValueError, match="runs must be 1 to 9 runs"):
        plot_runs([])


def test_prediction_has_a_bar_per_finding_beside_the_radiograph():
    pixels = np.arange(64 * 48, dtype=np.int64).reshape(64, 48).astype(np.uint8)
    figure = plot_prediction(
        pixels, {"Mass": 0.25, "Pleural_Thickening": 0.75}, labels={"Mass": 1}, title="a.png"
    )
    picture, bars = figure.axes
    np.testing.assert_equal(picture.images[0].get_array(), pixels)
    assert [round(patch.get_width(), 2) for patch in bars.patches] == [1, 0.25, 1, 0.75]
    told = words(figure)
    assert "a.png" in told
    assert "0.25  labelled" in told
    assert "0.75  labelled" not in told


def test_large_radiographs_are_shown_smaller_in_their_own_shape():
    figure = plot_prediction(np.zeros((2048, 1024, 3), np.uint8), {"Mass": 0.5})
    assert figure.axes[0].images[0].get_array().shape == (512, 256, 3)


def test_grey_levels_are_not_stretched():
    image = plot_montage([np.full((4, 4), 100, np.uint8)]).axes[0].images[0]
    assert (image.norm.vmin, image.norm.vmax) == (0, 255)


def test_montage_shows_every_image_with_its_caption():
    images = [np.full((8, 8 + k), 40 * k, np.uint8) for k in range(5)]
    figure = plot_montage(images, [f"image {k}" for k in range(5)], columns=3)
    assert sum(len(axes.images) for axes in figure.axes) == 5
    assert "image 4" in words(figure)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: plot_montage([]), "images"),
        (lambda: plot_montage([np.zeros((2, 2), np.uint8)], ["a", "b"]), "captions"),
        (lambda: plot_montage([np.zeros((2, 2))]), "uint8"),
        (lambda: plot_montage([np.zeros((2, 2), np.uint8)], columns=0), "columns"),
        (lambda: plot_prediction(np.zeros((2, 2), np.uint8), {}), "probabilities"),
    ],
)
def test_bad_pictures_are_named(call, word):
    with pytest.raises(InvalidValueError, match=word):
        call()


def test_figures_become_svg_and_png(evaluation):
    figure = plot_roc(evaluation)
    svg, png = figure_to_svg(figure), figure_to_png(figure, dpi=50)
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert png.startswith(b"\x89PNG")
    assert data_uri(svg).startswith("data:image/svg+xml;base64,")
    assert data_uri(png).startswith("data:image/png;base64,")


def test_the_numbers_do_not_import_matplotlib_and_drawing_does_not_import_pyplot():
    code = (
        "import sys; import hilum.evaluation; assert 'matplotlib' not in sys.modules;"
        "assert 'sklearn' not in sys.modules; assert 'torch' not in sys.modules;"
        "import hilum.evaluation.report; assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
