"""Overlays keep the radiograph where a map is empty and put boxes where readers drew them."""

import numpy as np
import pytest
from PIL import Image

from hilum.errors import InvalidValueError
from hilum.evaluation.boxes import Box
from hilum.evaluation.figures import figure_to_png
from hilum.evaluation.overlays import overlay, plot_explanations
from hilum.evaluation.strangers import strangers

PIXELS = np.random.default_rng(0).integers(0, 200, (40, 60)).astype(np.uint8)
HEAT = np.zeros((40, 60), np.float32)
HEAT[10:20, 30:50] = np.linspace(0.1, 1, 20)


def test_the_picture_stays_where_the_map_is_empty():
    blended = overlay(PIXELS, HEAT)
    assert blended.shape == (40, 60, 3)
    empty = HEAT == 0
    np.testing.assert_array_equal(blended[empty], PIXELS[empty][:, None].repeat(3, axis=1))


def test_stronger_places_are_more_coloured_and_brighter():
    grey = np.full((1, 50), 90, np.uint8)
    blended = overlay(grey, np.linspace(0, 1, 50, dtype=np.float32)[None])[0].astype(int)
    saturation = blended.max(axis=1) - blended.min(axis=1)
    assert (np.diff(saturation) >= -2).all()
    luma = blended @ np.array([0.299, 0.587, 0.114])
    assert luma[-1] > luma[0] + 60


@pytest.mark.parametrize(
    ("pixels", "heat"),
    [(PIXELS, HEAT[:5]), (PIXELS, HEAT * 2), (PIXELS, -HEAT), (PIXELS.astype(float), HEAT)],
)
def test_what_is_no_map_of_the_picture_is_refused(pixels, heat):
    with pytest.raises(InvalidValueError):
        overlay(pixels, heat)


def test_the_figure_names_findings_draws_boxes_and_says_what_is_empty(tmp_path):
    box = Box(left=30, top=10, width=20, height=10)
    figure = plot_explanations(
        PIXELS,
        {"Pleural_Thickening": HEAT, "Mass": np.zeros_like(HEAT)},
        captions={"Mass": "12.0%"},
        boxes={"Pleural_Thickening": [box]},
        title="one.png",
    )
    titles = [axes.get_title(loc="left") for axes in figure.axes[:3]]
    assert titles == ["one.png", "Pleural Thickening", "Mass 12.0%"]
    (drawn,) = figure.axes[1].patches
    assert (*drawn.get_xy(), drawn.get_width(), drawn.get_height()) == (30, 10, 20, 10)
    assert "empty" in figure.axes[2].texts[0].get_text()
    (tmp_path / "one.png").write_bytes(figure_to_png(figure))
    with Image.open(tmp_path / "one.png") as image:
        assert image.width > 300


def test_strangers_are_drawn_alike_for_the_same_seed_and_turned_as_said():
    radiographs = [PIXELS, PIXELS[:, ::-1]]
    first, second = strangers(radiographs, count=4, seed=3), strangers(radiographs, count=4, seed=3)
    assert set(first) >= {"photographs", "noise", "text", "inverted"}
    for kind, images in first.items():
        for one, other in zip(images, second[kind], strict=True):
            np.testing.assert_array_equal(one, other)
            assert one.dtype == np.uint8
            assert one.std() > 3, kind
    np.testing.assert_array_equal(first["inverted"][0], 255 - PIXELS)
    assert first["turned by 90 degrees"][0].shape == (60, 40)
    np.testing.assert_array_equal(first["turned by 180 degrees"][0][::-1, ::-1], PIXELS)
