"""`hilum runs`: a line per run, and what made them differ."""

import json

from run_folders import write_run


def test_runs_in_a_folder_are_a_line_each(hilum, tmp_path):
    write_run(tmp_path / "first", losses=(0.7, 0.5), max_epochs=2)
    write_run(tmp_path / "second", attempts=["failed"])
    answer = hilum("runs", tmp_path)
    assert answer.code == 0
    _, first, second = answer.out.splitlines()
    assert first.split() == [
        *(f"{tmp_path}/first", "timm:test_resnet", "2", "of", "2", "2"),
        *("0.5000", "0.700", "20.5", "1:00", "done"),
    ]
    assert second.strip().endswith("failed: why")


def test_runs_are_json_objects_for_programs(hilum, tmp_path):
    write_run(tmp_path / "first")
    answer = hilum("runs", "list", tmp_path, "--format", "json")
    assert json.loads(answer.out)["state"] == "done"


def test_a_comparison_says_what_differs_and_writes_the_picture(hilum, tmp_path):
    runs = [write_run(tmp_path / "a", seed=1), write_run(tmp_path / "b", seed=2)]
    answer = hilum("runs", "compare", *runs, "--out", tmp_path / "ab.png")
    assert answer.code == 0
    assert ["seed", "1", "2"] in [line.split() for line in answer.out.splitlines()]
    assert (tmp_path / "ab.png").exists()


def test_runs_made_alike_are_said_to_be(hilum, tmp_path):
    runs = [write_run(tmp_path / "a"), write_run(tmp_path / "b")]
    assert "No setting differs" in hilum("runs", "compare", *runs).out


def test_a_folder_without_runs_is_one_message(hilum, tmp_path):
    answer = hilum("runs", tmp_path)
    assert answer.code == 1
    assert "DIR must be a run folder" in answer.err
