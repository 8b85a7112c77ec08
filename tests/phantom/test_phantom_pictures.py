"""The pictures: deterministic, chest-like, and changed where a finding is."""

import subprocess
import sys
import zlib
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from hilum.findings import FINDINGS
from hilum.phantom import PhantomConfig, image_specs, patient, phantom, render

CONFIG = PhantomConfig(size_px=128, seed=7)
# How many times more a finding changes its boxes than the rest of the picture. Findings that
# reshape the chest (raised dome, big heart, wide lungs) change their surroundings too.
LOCAL = {f: 8.0 for f in FINDINGS} | {"Atelectasis": 1.4, "Cardiomegaly": 2.0, "Emphysema": 1.2,
                                      "Edema": 3.0, "Fibrosis": 3.0}  # fmt: skip


def healthy(patient_id, view="PA"):
    return replace(patient(CONFIG, patient_id).images[0], findings=(), view=view)


def test_the_same_spec_gives_the_same_pixels_in_any_order():
    specs = list(image_specs(CONFIG, 4))
    forwards = [render(CONFIG, s) for s in specs]
    backwards = [render(CONFIG, s) for s in reversed(specs)]
    assert all(np.array_equal(a, b) for a, b in zip(forwards, reversed(backwards), strict=True))


def test_another_process_draws_the_same_pixels():
    code = (
        "import zlib; from hilum.phantom import *; c = PhantomConfig(size_px=128, seed=7); "
        "print(zlib.crc32(render(c, patient(c, 5).images[0]).tobytes()))"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    here = zlib.crc32(render(CONFIG, patient(CONFIG, 5).images[0]).tobytes())
    assert int(there.stdout) == here


def test_another_seed_gives_another_picture():
    other = replace(CONFIG, seed=8)
    spec = healthy(1)
    assert not np.array_equal(render(CONFIG, spec), render(other, spec))


@pytest.mark.parametrize("size_px", [64, 101, 256, 1024])
def test_any_size_can_be_drawn(size_px):
    config = replace(CONFIG, size_px=size_px)
    drawn = phantom(config, replace(healthy(2), findings=("Mass", "Effusion")))
    assert drawn.pixels.shape == (size_px, size_px)
    assert drawn.pixels.dtype == np.uint8
    assert {box.finding for box in drawn.boxes} == {"Mass", "Effusion"}


def test_sizes_show_the_same_chest():
    small = render(CONFIG, healthy(3)).astype(float)
    large = render(replace(CONFIG, size_px=256), healthy(3)).astype(float)
    halved = large.reshape(128, 2, 128, 2).mean(axis=(1, 3))
    assert np.corrcoef(small.ravel(), halved.ravel())[0, 1] > 0.99


def test_grey_values_resemble_real_radiographs():
    # Mean over 680 NIH radiographs at 256 px: mean 141, standard deviation 56, 5th, 50th and
    # 95th percentile 28, 150, 215.
    pixels = np.stack([render(CONFIG, s) for s in image_specs(CONFIG, 40)]).astype(float)
    assert pixels.mean() == pytest.approx(141, abs=15)
    assert pixels.std(axis=(1, 2)).mean() == pytest.approx(56, abs=10)
    low, middle, high = np.percentile(pixels, [5, 50, 95])
    assert low < 60
    assert middle == pytest.approx(150, abs=20)
    assert high == pytest.approx(215, abs=20)


def test_lungs_are_dark_and_the_heart_lies_left():
    # The patient's left is the right of the picture.
    mean = np.mean([render(CONFIG, healthy(p)) for p in range(1, 13)], axis=0)
    right_lung, left_lung, spine = mean[40:60, 30:45], mean[40:60, 83:98], mean[40:60, 60:68]
    assert max(right_lung.mean(), left_lung.mean()) < spine.mean() - 40
    right_of_spine, left_of_spine = mean[66:76, 46:54], mean[66:76, 74:82]
    assert left_of_spine.mean() > right_of_spine.mean() + 10


def test_portable_images_show_a_wider_heart():
    def heart_width(view):
        pictures = [render(CONFIG, healthy(p, view)) for p in range(1, 13)]
        return np.mean([(p[70:76, 32:96] > 170).sum() for p in pictures])

    assert heart_width("AP") > heart_width("PA")


def test_images_of_a_patient_look_more_alike_than_those_of_others():
    config = replace(CONFIG, size_px=64)
    many = [p for p in range(1, 60) if len(patient(config, p).images) > 1][:12]
    pictures = [
        [render(config, replace(s, findings=(), view="PA")).astype(float)
         for s in patient(config, p).images[:2]] for p in many
    ]  # fmt: skip
    same = np.mean([np.abs(a - b).mean() for a, b in pictures])
    other = np.mean([np.abs(a[0] - b[1]).mean() for a, b in pairwise(pictures)])
    assert same < 0.75 * other


@pytest.mark.parametrize("finding", FINDINGS)
def test_a_finding_shows_inside_its_boxes(finding):
    inside, outside = [], []
    for patient_id in range(20, 28):
        spec = healthy(patient_id, "AP" if patient_id % 3 == 0 else "PA")
        drawn = phantom(CONFIG, replace(spec, findings=(finding,)))
        change = np.abs(drawn.pixels.astype(float) - render(CONFIG, spec))
        within = np.zeros(change.shape, bool)
        for box in drawn.boxes:
            assert box.finding == finding
            assert 0 <= box.x < box.x + box.width <= 128
            assert 0 <= box.y < box.y + box.height <= 128
            within[box.y : box.y + box.height, box.x : box.x + box.width] = True
        assert within.any()
        inside.append(change[within].mean())
        outside.append(change[~within].mean())
    assert np.mean(inside) > LOCAL[finding] * np.mean(outside)
    assert np.mean(inside) > 2.0


def test_every_finding_of_an_image_has_a_box():
    config = replace(CONFIG, prevalence_scale=3.0, prevalence_floor=0.1)
    for spec in image_specs(config, 40):
        assert {box.finding for box in phantom(config, spec).boxes} == set(spec.findings)


def test_a_nodule_stays_where_it_is_on_the_next_image():
    first = replace(healthy(31), findings=("Nodule",))
    boxes = [phantom(CONFIG, s).boxes[0] for s in (first, replace(first, index=1))]
    centres = [np.array([b.x + b.width / 2, b.y + b.height / 2]) for b in boxes]
    assert np.abs(centres[0] - centres[1]).max() < 20
