"""The comparison in words and pictures says what the numbers say and no more."""

import numpy as np
import pytest

from hilum.evaluation.comparison import compare
from hilum.evaluation.comparison_page import (
    conclusions,
    plot_differences,
    probability,
    render_comparison,
)


def compared(*, images, better=0.0, names=("old", "new")):
    random = np.random.default_rng(0)
    labels = (random.random((images, 2)) < 0.4).astype(float)
    noise = random.random((images, 2))
    a = 0.2 * labels + 0.8 * noise
    b = a + better * (labels - 0.5) * (1 - noise) + 0.02 * random.random((images, 2))
    b = (b - b.min()) / (b.max() - b.min())
    return compare(["Mass", "Edema"], labels, a, b, names=names, num_resamples=200)


def test_a_clear_winner_is_named():
    told = " ".join(conclusions(compared(images=400, better=0.5)))
    assert "excludes 0: new ranks better" in told
    assert "Mass, Edema" in told


def test_no_difference_shown_is_not_called_equality():
    told = " ".join(conclusions(compared(images=60)))
    assert "do not show that either model is better" in told
    assert "no proof that they are equal" in told
    assert "2 tests: none" in told


def test_nothing_scored_is_said():
    nothing = compare(["Mass"], [0, 0, 0], [0.1, 0.2, 0.3], [0.3, 0.2, 0.1], num_resamples=10)
    assert "nothing can be compared" in conclusions(nothing)[0]
    assert "undefined" in render_comparison(nothing)


def test_the_plot_has_a_row_per_finding_any_finding_and_mean():
    (axes,) = plot_differences(compared(images=60)).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "mean",
        "any finding",
        "Edema",
        "Mass",
    ]
    low, high = axes.get_xlim()
    assert low == -high


def test_names_that_look_like_markup_are_shown_as_they_are():
    page = render_comparison(compared(images=30, names=("<b>a</b>", "b")))
    assert "<b>a</b>" not in page
    assert "&lt;b&gt;a" in page


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (0.0341, "0.034"), (0.0004, "below 0.001"), (1.0, "1.000")]
)
def test_p_values_are_written_for_people(value, text):
    assert probability(value) == text
