"""Run folders as a list and against each other."""

import pytest

from hilum import storage
from hilum.errors import InvalidValueError
from hilum.recipes.runs import compare_runs, find_runs, list_runs, write_comparison
from run_folders import write_run


def test_a_run_is_told_by_its_best_epoch(tmp_path):
    run = write_run(tmp_path / "first", losses=(0.7, 0.5, 0.6), max_epochs=3)
    (summary,) = list_runs([run])
    assert (summary.name, summary.architecture) == (run, "timm:test_resnet")
    assert (summary.epochs, summary.max_epochs, summary.best_epoch) == (3, 3, 2)
    assert (summary.valid_loss, summary.valid_mean_auroc) == (0.5, pytest.approx(0.7))
    assert (summary.images_per_s, summary.seconds) == (21.0, 90.0)


def test_best_is_what_the_run_itself_keeps(tmp_path):
    run = write_run(tmp_path / "auc", losses=(0.7, 0.5), best_metric="valid_mean_auroc")
    assert list_runs([run])[0].best_epoch == 2


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"phase": "done"}, "done"),
        ({"phase": "training"}, "running"),
        ({"phase": "validating", "age_s": 3600.0}, "stopped"),
        ({"phase": "training", "attempts": ["lost", "running"]}, "running"),
        ({"phase": "training", "attempts": ["running"], "age_s": 3600.0}, "stopped"),
        ({"phase": "training", "attempts": ["failed"]}, "failed"),
        ({"phase": "training", "attempts": ["lost"]}, "failed"),
        ({"phase": "training", "attempts": ["stopped"]}, "stopped"),
        ({"phase": "training", "attempts": ["failed", "done"]}, "done"),
        ({"phase": "done", "attempts": ["done", "running"], "age_s": 3600.0}, "done"),
    ],
)
def test_the_state_is_what_the_run_said_last(tmp_path, changes, state):
    (summary,) = list_runs([write_run(tmp_path / "run", **changes)])
    assert summary.state == state
    assert summary.reason == ("why" if state == "failed" else "")


def test_a_heartbeat_shows_that_a_long_validation_is_still_running(tmp_path):
    run = write_run(tmp_path / "run", phase="validating", age_s=3600.0)
    storage.write_json(f"{run}/heartbeats/rank-0.json", {})
    assert list_runs([run])[0].state == "running"


def test_runs_are_found_in_a_folder_and_a_run_that_just_began_is_one(tmp_path):
    for name in ("b", "a"):
        write_run(tmp_path / name)
    begun = write_run(tmp_path / "c")
    for name in ("history.json", "progress.json", "environment.json"):
        storage.delete_tree(f"{begun}/{name}")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes.txt").write_text("none")
    assert find_runs([str(tmp_path), begun]) == [f"{tmp_path}/{name}" for name in "abc"]
    last = list_runs([str(tmp_path)])[-1]
    assert (last.state, last.epochs, last.best_epoch) == ("stopped", 0, None)


def test_a_folder_without_runs_is_an_error(tmp_path):
    with pytest.raises(InvalidValueError, match=r"DIR must be a run folder"):
        list_runs([str(tmp_path)])


def test_runs_lie_on_any_storage(tmp_path):
    run = write_run(tmp_path / "run")
    for name in ("job.json", "history.json", "progress.json"):
        storage.write_bytes(f"memory://runs/one/{name}", storage.read_bytes(f"{run}/{name}"))
    (summary,) = list_runs(["memory://runs"])
    assert (summary.name, summary.state) == ("memory://runs/one", "done")


def test_a_comparison_names_the_settings_that_differ_and_no_others(tmp_path):
    runs = [write_run(tmp_path / "a", seed=1), write_run(tmp_path / "b", seed=2, dropout=0.0)]
    environment = storage.read_json(f"{runs[1]}/environment.json")
    storage.write_json(
        f"{runs[1]}/environment.json", environment | {"versions": {"torch": "2.10.0"}}
    )
    found = {row.name: row.values for row in compare_runs(runs).differences}
    assert found == {
        "seed": ("1", "2"),
        "dropout": ("0.3", "0"),
        "version.torch": ("2.9.0", "2.10.0"),
    }


def test_a_comparison_is_written_as_picture_or_page(tmp_path):
    comparison = compare_runs([write_run(tmp_path / "a"), write_run(tmp_path / "<b>", seed=3)])
    picture, page = tmp_path / "runs.png", tmp_path / "runs.html"
    write_comparison(comparison, str(picture))
    assert picture.read_bytes().startswith(b"\x89PNG")
    write_comparison(comparison, str(page))
    text = page.read_text()
    assert "&lt;b&gt;" in text
    assert "<b>" not in text
    assert "http" not in text.replace("http-equiv", "")
    with pytest.raises(InvalidValueError, match=r"\.png or \.html"):
        write_comparison(comparison, str(tmp_path / "runs.pdf"))


def test_one_run_or_no_run_cannot_be_compared(tmp_path):
    run = write_run(tmp_path / "a")
    with pytest.raises(InvalidValueError, match="2 to 9 different folders"):
        compare_runs([run, f"{run}/"])
    with pytest.raises(InvalidValueError, match="folder of a run"):
        compare_runs([run, str(tmp_path)])
