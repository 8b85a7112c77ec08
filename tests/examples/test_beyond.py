"""The examples beyond radiographs find more than chance does, on fewer rows than they draw with."""

import importlib
import json
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "beyond"


@pytest.fixture
def find(spark, tmp_path, monkeypatch, capsys):
    """Run a script as from the command line, in the tests' session; return what it printed.

    `constants` are the script's, made smaller: its figures are of the whole, the claims are not.
    """
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])

    def run(name: str, **constants: int):
        script = importlib.import_module(name)
        for constant, value in constants.items():
            monkeypatch.setattr(script, constant, value)
        script.main(["--out", str(tmp_path)])
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        found = json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))
        assert json.loads(capsys.readouterr().out) == found
        return found

    return run


def test_the_nearest_images_have_the_same_finding_more_often_than_by_chance(find):
    found = find("similar_images")
    low, _ = found["above_chance_ci95"]["embeddings"]
    assert low > 0
    assert found["same_finding"]["embeddings"] > found["same_finding_by_chance"]


def test_what_an_autoencoder_cannot_redraw_is_strange(find):
    found = find("anomalies", PHANTOMS=360)
    low, _ = found["auroc_ci95"]["autoencoder"]
    assert low > 0.5
    assert found["auroc"]["autoencoder"] > found["auroc"]["mean image"]


def test_reports_are_read_as_people_read_them(find):
    found = find("report_findings", RESAMPLES=100)
    assert found["reports_learnt"] + found["reports_asked"] == 3927
    low, _ = found["mean_auroc_ci95"]["network"]
    assert low > 0.9


def test_parts_of_a_volume_tell_which_way_they_lie(find):
    found = find("volumes", LEARNT=360, ASKED=160)
    low, _ = found["right_ci95"]["network"]
    assert low > 2 * found["right_by_chance"]


def test_the_forecast_of_an_ecg_is_better_than_its_last_value(find):
    error = find("time_series")["rmse_mv"]
    assert error["network"] < 0.75 * error["last_value"]


def test_a_rare_event_is_found_among_many_rows(find):
    found = find("fraud", RESAMPLES=50)
    assert found["rows"] == 112_120
    low, _ = found["auroc_ci95"]["network"]
    assert low > 0.65
    assert found["average_precision"]["network"] > 3 * found["average_precision_by_chance"]


def test_dates_are_rewritten_letter_by_letter(find):
    found = find("sequences", ASKED=300)
    low, _ = found["right_dates_ci95"]
    assert low > 0.9 > found["right_dates_copied"] + 0.3
