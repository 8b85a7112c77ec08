"""The leaderboard ranks runs, sums up seeds, and says what cannot be compared."""

import csv
import io
import json
import statistics

import numpy as np
import pytest

from hilum.errors import InvalidValueError
from hilum.evaluation import evaluate
from hilum.recipes.leaderboard import leaderboard


def write_run(folder, *, seed, split_seed=0, architecture="resnet50", images=60):
    """What `hilum run` leaves of a run, as far as the leaderboard reads it."""
    truth = np.random.default_rng(split_seed)
    labels = truth.integers(0, 2, (images, 2)).astype(float)
    noise = np.random.default_rng(seed)
    scores = np.clip(0.3 * labels + noise.random((images, 2)) * 0.7, 0, 1)
    evaluation = evaluate(("Mass", "Edema"), labels, scores, num_resamples=50)
    (folder / "report").mkdir(parents=True)
    (folder / "bundle").mkdir()
    (folder / "report" / "metrics.json").write_text(evaluation.to_json())
    names = "".join(f"{split_seed}-{i}.png,0,0\n" for i in range(images))
    (folder / "report" / "predictions.csv").write_text("file_name,Mass,Edema\n" + names)
    manifest = {
        "architecture": architecture,
        "findings": ["Mass", "Edema"],
        "preprocessing": {},
        "provenance": {
            "source": {"labels": "labels.csv"},
            "split": {
                "by": "patient",
                "fractions": {"train": 0.8, "test": 0.2},
                "seed": split_seed,
                "listed_in": None,
            },
            "training": {
                "seed": seed,
                "max_epochs": 8,
                "schedule": {"type": "LinearWarmup", "peak": 0.1, "steps": 30 + split_seed},
            },
        },
        "metrics": {"epoch": 4},
    }
    (folder / "bundle" / "manifest.json").write_text(json.dumps(manifest))
    return str(folder), evaluation.mean_auroc


@pytest.fixture
def runs(tmp_path):
    return dict(
        [
            *(write_run(tmp_path / f"seed-{s}", seed=s) for s in (1, 2, 3)),
            write_run(tmp_path / "other", seed=1, architecture="densenet121"),
        ]
    )


def test_runs_are_ranked_by_their_mean_auc(runs):
    board = leaderboard([*runs])
    assert [run.name for run in board.runs] == sorted(runs, key=lambda name: (-runs[name], name))
    best = board.runs[0]
    assert best.mean_auroc == max(runs.values())
    assert (best.epoch, best.max_epochs, best.test_images) == (4, 8, 60)
    assert board.warnings == ()


def test_seeds_of_one_configuration_are_summed_up(runs):
    board = leaderboard([*runs])
    three = next(c for c in board.configurations if c.architecture == "resnet50")
    values = [value for name, value in runs.items() if "seed-" in name]
    assert sorted(three.seeds) == [1, 2, 3]
    assert three.mean == pytest.approx(statistics.fmean(values))
    assert three.sd == pytest.approx(statistics.stdev(values))
    assert (three.lowest, three.highest) == (min(values), max(values))
    assert three.one_test_set
    alone = next(c for c in board.configurations if c.architecture == "densenet121")
    assert (len(alone.runs), alone.sd) == (1, None)


def test_other_test_images_are_warned_about_and_still_one_configuration(runs, tmp_path):
    moved, _ = write_run(tmp_path / "moved", seed=4, split_seed=1)
    board = leaderboard([*runs, moved])
    (warning,) = board.warnings
    assert "seed 0" in warning
    assert "seed 1" in warning
    assert "hilum compare" in warning
    four = next(c for c in board.configurations if c.architecture == "resnet50")
    assert len(four.runs) == 4
    assert not four.one_test_set
    assert "test images differ" in str(four)


def test_json_and_csv_say_the_same(runs):
    board = leaderboard([*runs])
    stored = json.loads(board.to_json())
    rows = list(csv.DictReader(io.StringIO(board.to_csv())))
    assert [row["name"] for row in rows] == [run["name"] for run in stored["runs"]]
    assert float(rows[0]["mean_auroc_ci95_low"]) == stored["runs"][0]["mean_auroc_ci95"][0]


def test_the_command_prints_every_run_and_the_spread(hilum_main, runs):
    out, err = hilum_main("leaderboard", *runs)
    assert all(name in out for name in runs)
    assert "3 runs (seeds" in out
    assert err == ""


def test_folders_without_a_finished_run_are_named(runs, tmp_path):
    with pytest.raises(InvalidValueError, match=r"report.metrics\.json"):
        leaderboard([str(tmp_path / "nowhere")])
    with pytest.raises(InvalidValueError, match="different folders"):
        leaderboard([next(iter(runs)), next(iter(runs)) + "/"])


@pytest.fixture
def hilum_main(monkeypatch, capsys):
    """Arguments to stdout and stderr of a command that ends well."""

    def call(*arguments):
        import sys

        from hilum.cli.main import main

        monkeypatch.setattr(sys, "argv", ["hilum", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        return capsys.readouterr()

    return call
