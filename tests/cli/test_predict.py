"""`hilum predict` and `hilum info`: every file gets a row, by name, in any format."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from hilum.decoding import decode
from hilum.inference import Predictor, load_bundle
from hilum.storage import hadoop_settings
from image_files import dicom, picture, png, write_files
from name_node import name_node

GOOD = {"a.png": png(picture(1, 40, 30)), "deep/b.dcm": dicom(picture(2, 64, 64))}
BAD = {"c.png": b"patient was not there"}
NAMES = ["Pneumonia", "Pleural_Thickening"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_files(tmp_path / "xrays", GOOD | BAD)


def json_lines(answer):
    return [json.loads(line) for line in answer.out.splitlines()]


def test_json_has_an_object_a_line_with_names_and_reasons(hilum, bundle_directory, folder):
    answer = hilum("predict", bundle_directory, folder, "--format", "json")
    assert answer.code == 3, "one file could not be used"
    rows = json_lines(answer)
    assert [row["path"] for row in rows] == [
        str(folder / name) for name in ("a.png", "c.png", "deep/b.dcm")
    ]
    for row in rows:
        assert list(row) == [
            *("path", "status", "reason", "probabilities", "operating_point", "ood_score")
        ]
    assert rows[1] == {
        "path": str(folder / "c.png"),
        "status": "rejected",
        "reason": "not_an_image",
        "probabilities": None,
        "operating_point": None,
        "ood_score": None,
    }
    for row in (rows[0], rows[2]):
        assert (row["status"], row["reason"]) == ("ok", None)
        assert list(row["probabilities"]) == NAMES


def test_probabilities_are_the_predictors(hilum, bundle_directory, folder):
    paths = [folder / name for name in GOOD]
    answer = hilum("predict", bundle_directory, *paths, "--format", "json")
    assert answer.code == 0
    predictor = Predictor.load(load_bundle(str(bundle_directory)))
    expected = list(predictor.predict(decode(path.read_bytes()).pixels for path in paths))
    found = [list(row["probabilities"].values()) for row in json_lines(answer)]
    np.testing.assert_allclose(found, np.stack(expected), atol=1e-6)


def test_json_tells_thresholds_and_what_is_called_present(hilum, decided_directory, folder):
    rows = json_lines(hilum("predict", decided_directory, folder, "--format", "json"))
    predictor = Predictor.load(load_bundle(str(decided_directory)))
    (pixels,) = predictor.predict([decode((folder / "a.png").read_bytes()).pixels])
    assert list(rows[0]["probabilities"].values()) == pytest.approx(pixels.tolist(), abs=1e-6)
    assert rows[0]["operating_point"] == {
        "rule": "specificity_90",
        "thresholds": {"Pneumonia": 0.25, "Pleural_Thickening": None},
        "present": ["Pneumonia"],
    }
    assert rows[0]["probabilities"]["Pneumonia"] >= 0.25
    assert rows[1]["operating_point"] is None, "a file that could not be used"


def test_the_table_marks_the_threshold_and_says_above_or_below(hilum, decided_directory, folder):
    answer = hilum("predict", decided_directory, folder / "a.png")
    lines = {line.split()[0]: line for line in answer.out.splitlines() if "%" in line}
    assert "│" in lines["Pneumonia"]
    assert "above 25.0%" in lines["Pneumonia"]
    assert "│" not in lines["Pleural"]
    assert "above" not in lines["Pleural"]
    assert "90 % specificity" in answer.out


def test_info_shows_calibration_and_thresholds_or_says_there_are_none(
    hilum, bundle_directory, decided_directory
):
    assert "no thresholds or calibration stored" in hilum("info", bundle_directory).out
    told = hilum("info", decided_directory).out
    for text in ("calibration.Pneumonia", "slope 1.500", "thresholds.specificity_90", "0.2500"):
        assert text in told
    facts = json.loads(hilum("info", decided_directory, "--format", "json").out)
    assert facts["decision_rules"]["patients"] == 30
    none = json.loads(hilum("info", bundle_directory, "--format", "json").out)
    assert none["decision_rules"] is None


def test_csv_has_a_column_per_finding(hilum, bundle_directory, folder):
    answer = hilum("predict", bundle_directory, folder, "--format", "csv")
    assert answer.code == 3
    rows = list(csv.DictReader(io.StringIO(answer.out)))
    assert list(rows[0]) == ["path", "status", "reason", *NAMES, "ood_score"]
    assert [row["status"] for row in rows] == ["ok", "rejected", "ok"]
    assert rows[1]["reason"] == "not_an_image"
    assert rows[1]["Pneumonia"] == ""
    assert 0 <= float(rows[0]["Pneumonia"]) <= 1


def test_the_table_shows_every_file_finding_and_reason(hilum, bundle_directory, folder):
    answer = hilum("predict", bundle_directory, folder)
    assert answer.code == 3
    flowing = answer.out.replace("\n", "")
    for text in (*(str(folder / name) for name in (*GOOD, *BAD)), "Pneumonia", "not_an_image"):
        assert text in flowing
    assert "Pleural Thickening" in answer.out
    assert "%" in answer.out


def test_paths_with_markup_in_their_name_are_shown_as_they_are(hilum, bundle_directory, tmp_path):
    write_files(tmp_path, {"[bold]x[/red].png": GOOD["a.png"]})
    answer = hilum("predict", bundle_directory, tmp_path)
    assert answer.code == 0
    assert "[bold]x[/red].png" in answer.out.replace("\n", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere.png",), "nowhere.png"),
        (("--format", "xml"), "--format"),
        (("empty",), "files"),
    ],
)
def test_what_cannot_be_predicted_is_said(hilum, bundle_directory, folder, arguments, said):
    (folder.parent / "empty").mkdir()
    given = [folder.parent / text if text == "empty" else text for text in arguments]
    extra = [folder] if arguments[0].startswith("--") else []
    answer = hilum("predict", bundle_directory, *extra, *given)
    assert answer.code == 1
    assert said in answer.err
    assert "Traceback" not in answer.err


def test_a_storage_that_refuses_is_an_error_and_one_file_a_row(
    hilum, bundle_directory, monkeypatch
):
    with name_node({f"/x/{name}": GOOD["a.png"] for name in ("a.png", "b.png")}) as node:
        monkeypatch.setenv(hadoop_settings.OVERRIDE, node.address)
        node.refused["OPEN /x/a.png"] = (403, "AccessControlException")
        answer = hilum("predict", bundle_directory, "hdfs:///x", "--format", "csv")
        rows = list(csv.DictReader(io.StringIO(answer.out)))
        assert answer.code == 3
        assert [(row["path"], row["reason"]) for row in rows] == [
            ("hdfs:///x/a.png", "unreadable"),
            ("hdfs:///x/b.png", ""),
        ]
        for refusal in ((401, "AuthenticationException"), (400, "IllegalArgumentException")):
            node.refused["OPEN /x/a.png"] = refusal
            answer = hilum("predict", bundle_directory, "hdfs:///x", "--format", "csv")
            assert answer.code == 1
            assert "/x/a.png" in answer.err


def test_damaged_weights_are_an_error_and_no_prediction(hilum, bundle_directory, folder, tmp_path):
    for name in ("manifest.json", "weights.safetensors"):
        (tmp_path / name).write_bytes((bundle_directory / name).read_bytes())
    weights = tmp_path / "weights.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    answer = hilum("predict", tmp_path, folder)
    assert (answer.code, answer.out) == (1, "")
    assert "SHA-256" in answer.err


def test_info_shows_what_the_model_is(hilum, bundle_directory):
    answer = hilum("info", bundle_directory)
    assert answer.code == 0
    for text in ("timm:test_resnet", "Pneumonia, Pleural_Thickening", "0.75", "versions.hilum"):
        assert text in answer.out


def test_info_as_json_can_be_read_by_programs(hilum, bundle_directory):
    facts = json.loads(hilum("info", bundle_directory, "--format", "json").out)
    assert facts["findings"] == NAMES
    assert facts["architecture"] == "timm:test_resnet"
    assert facts["parameters"] > 1000
    assert facts["preprocessing"]["steps"]


def test_info_knows_its_formats(hilum, bundle_directory):
    answer = hilum("info", bundle_directory, "--format", "yaml")
    assert answer.code == 1
    assert "yaml" in answer.err
