"""Maps that point at boxes score, others do not, and chance stands beside both."""

import gzip

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.errors import InvalidValueError
from hilum.evaluation.boxes import Box, read_nih_boxes
from hilum.evaluation.localisation import (
    BoxedMap,
    box_mask,
    localise,
    localise_by_finding,
    overlap,
    points_into,
)

TABLE = """Image Index,Finding Label,Bbox [x,y,w,h],,,
00000001_000.png,Infiltrate,225.5,547.0,86.5,79.25
00000001_000.png,Infiltrate,10,20,30,40
00000001_000.png,Mass,1,2,3,4
00000002_001.png,Atelectasis,686.1,131.5,185.5,313.5
"""


def blob(row: int, column: int, shape=(20, 30)) -> np.ndarray:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 8).astype(np.float32)


def boxed(heat, patient="1", finding="Mass", box=(12, 4, 6, 8)) -> BoxedMap:
    left, top, width, height = box
    boxes = [Box(left=left, top=top, width=width, height=height)]
    return BoxedMap(finding=finding, heat=heat, boxes=boxes, patient_id=patient)


@pytest.mark.parametrize("compressed", [False, True])
def test_nihs_table_is_read_with_its_old_spelling(tmp_path, compressed):
    path = tmp_path / ("boxes.csv.gz" if compressed else "boxes.csv")
    data = TABLE.encode()
    path.write_bytes(gzip.compress(data) if compressed else data)
    boxes = read_nih_boxes(str(path))
    assert list(boxes) == ["00000001_000.png", "00000002_001.png"]
    first, second = boxes["00000001_000.png"]["Infiltration"]
    assert first == Box(left=225.5, top=547.0, width=86.5, height=79.25)
    assert second.scaled(0.5) == Box(left=5, top=10, width=15, height=20)
    assert second.scaled(0.5, 2) == Box(left=5, top=40, width=15, height=80)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n", "BBox_List_2017"),
        ("", "BBox_List_2017"),
        (TABLE + "3.png,Fever,1,2,3,4\n", "Fever"),
        (TABLE + "3.png,Mass,1,2,x,4\n", "line 6"),
        (TABLE + "3.png,Mass,1,2\n", "line 6"),
        (TABLE + "3.png,Mass,1,2,0,4\n", "positive size"),
    ],
)
def test_another_table_is_refused(tmp_path, text, said):
    path = tmp_path / "boxes.csv"
    path.write_text(text)
    with pytest.raises(InvalidValueError, match=said):
        read_nih_boxes(str(path))


def test_the_real_table_has_what_nih_says(real_data):
    boxes = read_nih_boxes(str(real_data / "nih-labels/BBox_List_2017.csv.gz"))
    assert len(boxes) == 880
    assert sum(len(b) for image in boxes.values() for b in image.values()) == 984


def test_a_box_covers_the_pixels_whose_centres_it_holds():
    mask = box_mask([Box(left=1.5, top=2, width=2, height=1)], 4, 6)
    assert [tuple(place) for place in np.argwhere(mask)] == [(2, 1), (2, 2)]


@given(st.floats(-5, 40), st.floats(-5, 40), st.floats(0.01, 50), st.floats(0.01, 50))
def test_no_box_vanishes(left, top, width, height):
    mask = box_mask([Box(left=left, top=top, width=width, height=height)], 20, 30)
    assert mask.any()


def test_the_strongest_pixel_decides_the_pointing_game():
    mask = box_mask([Box(left=12, top=4, width=6, height=8)], 20, 30)
    assert points_into(blob(8, 15), mask)
    assert not points_into(blob(8, 25), mask)
    assert not points_into(np.zeros((20, 30), np.float32), mask), "an empty map points nowhere"
    assert not points_into(np.ones((20, 30), np.float32), mask), "a flat one neither"


def test_overlap_is_that_of_two_rectangles():
    heat = np.zeros((20, 30), np.float32)
    heat[4:12, 15:21] = 1  # half of it in columns 12 to 18
    mask = box_mask([Box(left=12, top=4, width=6, height=8)], 20, 30)
    iou, iobb = overlap(heat, mask, 0.5)
    assert iou == pytest.approx(1 / 3)
    assert iobb == pytest.approx(1 / 2)
    assert overlap(np.zeros((20, 30), np.float32), mask, 0.5) == (0.0, 0.0)


def test_maps_on_the_boxes_beat_chance_and_maps_elsewhere_do_not():
    good = localise([boxed(blob(8, 15), str(i)) for i in range(12)])
    assert (good.hit_rate, good.empty, good.patients) == (1.0, 0, 12)
    assert good.chance == pytest.approx(6 * 8 / 600)
    assert good.chance_elsewhere == 1.0, "boxes all in one place need no image to be found"
    assert good.excess_ci95[0] > 0
    bad = localise([boxed(blob(8, 25), str(i)) for i in range(12)])
    assert bad.hit_rate == 0.0
    assert bad.excess_ci95[1] < 0


def test_random_points_hit_as_often_as_chance_says():
    random = np.random.default_rng(0)
    maps = [
        boxed(blob(random.integers(20), random.integers(30)), str(i), box=(5, 2, 20, 10))
        for i in range(400)
    ]
    found = localise(maps, num_resamples=200)
    assert found.chance == pytest.approx(1 / 3)
    assert found.hit_rate == pytest.approx(found.chance, abs=0.06)
    assert found.excess_ci95[0] < 0 < found.excess_ci95[1]
    assert found.chance_elsewhere == pytest.approx(found.hit_rate, abs=0.01)


def test_several_images_of_a_patient_widen_the_interval():
    heats = [blob(8, 15) if i % 2 else blob(8, 25) for i in range(40)]
    alone = localise([boxed(heat, str(i)) for i, heat in enumerate(heats)])
    few = localise([boxed(heat, str(i % 4)) for i, heat in enumerate(heats)])
    width = [one.hit_rate_ci95[1] - one.hit_rate_ci95[0] for one in (alone, few)]
    assert width[1] > 1.5 * width[0]
    assert few.to_json()["patients"] == 4


def test_findings_are_told_apart():
    maps = [boxed(blob(8, 15), "1", "Mass"), boxed(blob(8, 25), "2", "Nodule")]
    by_finding = localise_by_finding(maps)
    assert {name: one.hit_rate for name, one in by_finding.items()} == {"Mass": 1.0, "Nodule": 0.0}
    assert by_finding["Mass"].chance_elsewhere is None


@pytest.mark.parametrize(("argument", "value"), [("threshold", 0.0), ("num_resamples", 0)])
def test_impossible_settings_are_refused(argument, value):
    with pytest.raises(InvalidValueError, match=argument):
        localise([boxed(blob(8, 15))], **{argument: value})
