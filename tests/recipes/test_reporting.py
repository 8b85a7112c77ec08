"""What an evaluation writes: every part the images allow, and the reason for those they do not."""

import csv
import json

import jsonschema
import numpy as np
import pytest

from hilum.evaluation.cases import Case
from hilum.findings import FINDINGS
from hilum.inference import ModelBundle, Predictor, save_bundle
from hilum.models import build_classifier
from hilum.phantom import PhantomConfig, write_dataset
from hilum.preprocessing import radiograph_chain
from hilum.recipes.closer_look import _enough, _overlays
from hilum.recipes.run import evaluate_bundle
from image_files import picture


@pytest.fixture(scope="module")
def bundle():
    network, _ = build_classifier("timm:test_resnet", len(FINDINGS), weights="random", seed=0)
    ood = {"images": 9, "above": 0.1, "auroc": {"inverted": 0.9}, "found": {"inverted": 0.8}}
    return ModelBundle(
        architecture="timm:test_resnet",
        findings=FINDINGS,
        preprocessing=radiograph_chain(32, (0.5,) * 3, (0.25,) * 3),
        weights=network.state_dict(),
        metrics={"ood": ood},
    )


@pytest.fixture(scope="module")
def report(spark, bundle, tmp_path_factory):
    work = tmp_path_factory.mktemp("evaluation")
    config = PhantomConfig(size_px=64, seed=2, prevalence_scale=4.0, prevalence_floor=0.15)
    write_dataset(work, 40, config)
    save_bundle(bundle, str(work / "bundle"))
    paths = (str(work / "images"), str(work / "Data_Entry_2017.csv"), str(work / "report"))
    evaluate_bundle(spark, str(work / "bundle"), *paths, closer_look=30, say=lambda _: None)
    return work / "report"


def test_the_report_obeys_its_schema_and_has_every_part_it_can(report, bundle):
    document = json.loads((report / "report.json").read_text())
    jsonschema.validate(document, json.loads((report / "report.schema.json").read_text()))
    anchors = {part["anchor"] for part in document["parts"]}
    assert anchors >= {
        *("findings", "published", "roc", "calibration", "cooccurrence", "views", "subgroups"),
        *("shortcuts", "robustness", "out-of-distribution"),
    }
    assert any(bundle.digest in fact for fact in document["model_card"][0]["facts"])
    missing = {entry["what"] for entry in document["not_examined"]}
    assert missing >= {"operating points", "localisation", "label errors"}


def test_cases_are_named_by_their_row_and_have_heat_maps(report):
    document = json.loads((report / "report.json").read_text())
    rows = list(csv.DictReader((report / "predictions.csv").read_text().splitlines()))
    assert document["cases"]
    for case in document["cases"]:
        row = rows[int(case["name"].split()[1]) - 1]
        assert case["probabilities"][case["finding"]] == pytest.approx(
            float(row[case["finding"]]), abs=1e-6
        )
        assert case["heat_map"]
        assert row["file_name"] not in (report / "report.html").read_text()


def test_robustness_and_probes_are_from_the_images_looked_at(report):
    tables = json.loads((report / "report.json").read_text())["tables"]
    assert tables["robustness"]["rows"][0]["level"] is None
    assert {row["disturbance"] for row in tables["robustness"]["rows"]} > {"noise", "inversion"}
    assert all(row["images"] + row["others"] == 30 for row in tables["shortcut_probes"]["rows"])


def test_a_heat_map_lies_over_its_own_case(bundle):
    pixels = picture(1, 40, 50)
    case = Case(image=7, finding="Mass", kind="hit", score=0.5, percentile=1.0)
    overlays = _overlays(Predictor.load(bundle), [case], {7: pixels})
    assert overlays[7].shape == (40, 50, 3)
    assert overlays[7].dtype == np.uint8


def test_a_probe_needs_five_patients_of_each_value():
    patients = [f"p{k}" for k in range(10)]
    assert _enough(["AP"] * 5 + ["PA"] * 5, patients)
    assert not _enough(["AP"] * 4 + ["PA"] * 6, patients)
    assert not _enough(["AP"] * 10, patients)
    assert not _enough([None] * 5 + ["PA"] * 5, patients)
    assert not _enough(["AP"] * 5 + ["PA"] * 5, ["p"] * 10)
