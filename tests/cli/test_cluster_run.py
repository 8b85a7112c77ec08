"""The main job as a command, on separate executors, as a user runs it; and what goes on from it.

What goes on runs in the tests' session, for a session of its own has nothing more to show.
"""

import json
import subprocess
from pathlib import Path

import pytest

from hilum.findings import FINDINGS
from hilum.phantom import PhantomConfig, write_dataset
from image_files import broken_files, write_files
from warm_command import run_hilum

pytestmark = [pytest.mark.slow, pytest.mark.spark]

PHANTOMS = PhantomConfig(size_px=64, seed=1, prevalence_scale=4.0, prevalence_floor=0.1)
LABELS = "data/Data_Entry_2017.csv"


def call(*arguments: object, cwd: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = run_hilum(*arguments, cwd=cwd)
    assert done.returncode == code, done.stderr[-4000:]
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with phantoms and a finished run on two executors."""
    directory = tmp_path_factory.mktemp("cluster")
    write_dataset(directory / "data", 60, PHANTOMS)
    call(
        *("run", "--images", directory / "data/images", "--labels", directory / LABELS),
        *("--out", "run", "--model", "timm:test_resnet", "--weights", "random"),
        *("--epochs", 1, "--image-size", 32, "--master", "local-cluster[2,1,1024]"),
        cwd=directory,
    )
    return directory


def test_run_leaves_model_history_report_and_metrics(work):
    history = json.loads((work / "run/history.json").read_text())
    assert len(history["epochs"]) == 1
    assert (work / "run/bundle/weights.safetensors").stat().st_size > 1000
    manifest = json.loads((work / "run/bundle/manifest.json").read_text())
    assert manifest["findings"] == list(FINDINGS)
    assert manifest["provenance"]["num_ranks"] == 2, "one rank per executor"
    assert manifest["provenance"]["decision_rules"], "thresholds, or why there are none"
    page = (work / "run/report/report.html").read_text()
    assert all(finding.replace("_", " ") in page.replace("_", " ") for finding in FINDINGS)
    metrics = json.loads((work / "run/report/metrics.json").read_text())
    assert list(metrics["findings"]) == list(FINDINGS)
    for value in metrics["findings"].values():
        assert {"auroc", "auroc_ci95", "positives", "images"} <= set(value)
        assert value["auroc"] is None or 0 <= value["auroc"] <= 1


def test_no_patient_is_in_two_splits_and_every_image_is_counted(work):
    provenance = json.loads((work / "run/bundle/manifest.json").read_text())["provenance"]
    assert sum(split["images"] for split in provenance["splits"]) == 60
    assert provenance["images_per_split"] == {
        split["name"]: split["images"] for split in provenance["splits"]
    }


def test_the_model_predicts_files_and_info_tells_its_origin(work):
    (work / "note.txt").write_text("no image")
    image = sorted((work / "data/images").iterdir())[0]
    done = call("predict", "run/bundle", image, "note.txt", "--format", "json", cwd=work, code=3)
    good, text = map(json.loads, done.stdout.splitlines())
    assert (good["status"], list(good["probabilities"])) == ("ok", list(FINDINGS))
    assert (text["status"], text["reason"]) == ("rejected", "not_an_image")
    facts = json.loads(call("info", "run/bundle", "--format", "json", cwd=work).stdout)
    assert facts["provenance"]["source"]["images"] == str(work / "data/images")


def test_evaluating_the_test_split_again_gives_the_runs_figures(work, hilum_here):
    # The tests' session makes as many parts as the run had: batches round alike.
    answer = hilum_here(
        *("evaluate", work / "run/bundle", "--images", work / "data/images"),
        *("--labels", work / LABELS, "--report", work / "again", "--split", "test"),
        *("--closer-look", 0),
    )
    assert answer.code == 0, answer.err
    first = json.loads((work / "run/report/metrics.json").read_text())
    again = json.loads((work / "again/metrics.json").read_text())
    assert again["findings"] == first["findings"]
    assert again["mean_auroc"] == first["mean_auroc"]
    missing = json.loads((work / "again/report.json").read_text())["not_examined"]
    assert "robustness" in {entry["what"] for entry in missing}, "not looked at closer"


def test_the_runs_report_has_its_tables_card_and_checklist(work):
    folder = work / "run/report"
    document = json.loads((folder / "report.json").read_text())
    assert {f"{name}.csv" for name in document["tables"]} <= {p.name for p in folder.iterdir()}
    assert document["data_flow"]["leaking_patients"] == 0
    assert "## Intended use" in (folder / "model_card.md").read_text()
    assert "| 44 |" in (folder / "claim_checklist.md").read_text()
    assert "robustness" in {part["anchor"] for part in document["parts"]}


def test_resuming_a_finished_run_changes_nothing(work, hilum_here):
    before = (work / "run/bundle/weights.safetensors").read_bytes()
    answer = hilum_here("train", "--resume", work / "run")
    assert answer.code == 0, answer.err
    assert (work / "run/bundle/weights.safetensors").read_bytes() == before


def test_ingest_counts_files_by_reason(tmp_path, hilum_here):
    broken = broken_files()
    write_dataset(tmp_path / "data", 5, PHANTOMS)
    write_files(tmp_path / "data/images/sub", {n: content for n, (content, _) in broken.items()})
    answer = hilum_here("ingest", tmp_path / "data/images", "--out", tmp_path / "table")
    counts = json.loads(answer.out)
    reasons = [reason for _, reason in broken.values()]
    assert counts == {
        "files": 5 + len(broken),
        "ok": 5,
        "rejected": len(broken),
        "reasons": {reason: reasons.count(reason) for reason in counts["reasons"]},
    }
    assert set(counts["reasons"]) == set(reasons)
