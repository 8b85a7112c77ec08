"""The plan: who the patients are, what they have, and NIH's label layout."""

import csv
import gzip
import os
from collections import Counter
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.errors import InvalidValueError
from hilum.findings import FINDINGS
from hilum.phantom import (
    LABEL_HEADER,
    PhantomConfig,
    image_specs,
    label_row,
    nih_prevalences,
    patient,
    patients,
)
from hilum.phantom.prevalence import IMAGES_PER_PATIENT, NUM_IMAGES, PAIR_COUNTS


@pytest.fixture(scope="module")
def nih_like():
    return list(image_specs(PhantomConfig(seed=11), 20_000))


@pytest.fixture(scope="module")
def presence(nih_like):
    return np.array([[f in s.findings for f in FINDINGS] + [s.view == "AP"] for s in nih_like])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**9), few=st.integers(0, 40), more=st.integers(0, 40))
def test_asking_for_more_images_never_changes_the_earlier_ones(seed, few, more):
    config = PhantomConfig(seed=seed)
    longer = list(image_specs(config, few + more))
    assert list(image_specs(config, few)) == longer[:few]
    assert len(longer) == few + more


def test_a_patient_is_the_same_alone_and_in_a_list():
    config = PhantomConfig(seed=3)
    listed = list(patients(config, 60))
    assert all(patient(config, one.patient_id).images[: len(one.images)] == one.images
               for one in listed)  # fmt: skip
    assert sum(len(one.images) for one in listed) == 60


def test_seeds_give_different_patients():
    first, second = (list(image_specs(PhantomConfig(seed=s), 50)) for s in (0, 1))
    assert first != second


def test_file_names_are_nih_names():
    names = [s.file_name for s in patient(PhantomConfig(seed=3), 12).images]
    assert names[0] == "00000012_000.png"
    assert len(set(names)) == len(names)


def test_patients_have_as_many_images_as_nih_patients(nih_like):
    sizes = Counter(s.patient_id for s in nih_like)
    assert len(nih_like) / len(sizes) == pytest.approx(3.64, rel=0.08)
    single = sum(n == 1 for n in sizes.values()) / len(sizes)
    assert single == pytest.approx(17503 / 30805, abs=0.03)
    assert max(sizes.values()) > 40


def test_prevalences_are_nih_prevalences(presence):
    for i, (finding, share) in enumerate(nih_prevalences().items()):
        seen = presence[:, i].mean()
        assert seen == pytest.approx(share, rel=0.25, abs=0.002), finding
    assert (~presence[:, :14].any(axis=1)).mean() == pytest.approx(60361 / NUM_IMAGES, abs=0.02)


def test_common_pairs_of_findings_occur_together_as_often_as_in_nih(presence):
    for i, j in combinations(range(15), 2):
        expected = PAIR_COUNTS[j][i] / NUM_IMAGES
        if expected > 0.01:
            seen = (presence[:, i] & presence[:, j]).mean()
            assert seen == pytest.approx(expected, rel=0.30), (i, j)


def test_findings_stay_with_their_patient(nih_like):
    again = Counter()
    for first, second in pairwise(nih_like):
        if first.patient_id == second.patient_id and "Effusion" in first.findings:
            again["Effusion" in second.findings] += 1
    # NIH: 47 % of the next images show it again, 14 % of all images of such patients do.
    assert 0.38 < again[True] / sum(again.values()) < 0.58


def test_scale_and_floor_raise_prevalences():
    config = PhantomConfig(seed=2, prevalence_scale=3.0, prevalence_floor=0.05)
    found = Counter(f for s in image_specs(config, 4000) for f in s.findings)
    assert found["Effusion"] / 4000 == pytest.approx(3 * 13317 / NUM_IMAGES, rel=0.15)
    assert found["Infiltration"] / 4000 == pytest.approx(0.5, rel=0.1)
    assert min(found[f] for f in FINDINGS) / 4000 > 0.03


def test_patients_grow_older_and_keep_their_sex(nih_like):
    for first, second in pairwise(nih_like):
        if first.patient_id == second.patient_id:
            assert second.age_years >= first.age_years
            assert second.sex == first.sex
            assert second.index == first.index + 1
    ages = np.array([s.age_years for s in nih_like])
    assert ages.min() >= 1
    assert ages.max() <= 95
    assert 40 < np.median(ages) < 55


def test_label_rows_have_nih_columns():
    config = PhantomConfig(size_px=128, seed=1, prevalence_floor=0.3)
    header = next(csv.reader([LABEL_HEADER]))
    for spec in image_specs(config, 20):
        row = label_row(config, spec)
        assert len(row) == len(header) == 11
        assert row[0] == f"{int(row[3]):08d}_{int(row[2]):03d}.png"
        names = row[1].split("|")
        assert names == sorted(names)
        assert set(names) <= {*FINDINGS, "No Finding"}
        assert row[5] in ("M", "F")
        assert row[7:9] == ("128", "128")
        assert float(row[9]) * 128 == pytest.approx(10 * spec.field_cm, rel=1e-4)


@pytest.mark.parametrize(
    "wrong",
    [{"size_px": 32}, {"size_px": 2048}, {"seed": -1}, {"prevalence_scale": 0.0},
     {"prevalence_floor": 0.9}],
)  # fmt: skip
def test_a_wrong_setting_is_named(wrong):
    with pytest.raises(InvalidValueError, match=next(iter(wrong))):
        PhantomConfig(**wrong)


@pytest.mark.real
def test_the_counts_in_the_code_are_those_of_the_nih_label_file():
    folder = os.environ.get("HILUM_REAL_DATA")
    if not folder:
        pytest.skip("HILUM_REAL_DATA is not set")
    path = Path(folder) / "nih-labels" / "Data_Entry_2017_v2020.csv.gz"
    with gzip.open(path, "rt") as file:
        assert file.readline().rstrip("\n") == LABEL_HEADER
        rows = list(csv.reader(file))
    names = [*FINDINGS, "AP"]
    seen = [[n in {*r[1].split("|"), r[6]} for n in names] for r in rows]
    counts = np.array(seen, int).T @ np.array(seen, int)
    assert len(rows) == NUM_IMAGES
    assert [tuple(counts[i, : i + 1]) for i in range(15)] == list(PAIR_COUNTS)
    sizes = Counter(Counter(r[3] for r in rows).values())
    assert all(sizes[n] == count for n, count in IMAGES_PER_PATIENT if n <= 20)
    assert sum(sizes.values()) == sum(count for _, count in IMAGES_PER_PATIENT)
