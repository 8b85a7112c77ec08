"""environment.json says on what a run was made, and nothing about who made it."""

import getpass
import json
import subprocess
from pathlib import Path

import pytest
import torch

from hilum import storage
from hilum.training.environment import (
    command_line,
    describe_environment,
    git_state,
    write_environment,
    write_leader_machine,
)


def test_versions_machine_and_spark_are_written(tmp_path):
    write_environment(str(tmp_path), {"master": "local[2]", "version": "4.1.1"})
    found = storage.read_json(f"{tmp_path}/environment.json")
    assert found["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert found["driver"]["cores"] >= 1
    assert found["driver"]["memory_gib"] > 0
    assert found["driver"]["gpus"] == [] or torch.cuda.is_available()
    assert found["spark"] == {"master": "local[2]", "version": "4.1.1"}


def test_the_machine_of_rank_0_joins_the_drivers(tmp_path):
    write_environment(str(tmp_path), {"master": "yarn"})
    write_leader_machine(str(tmp_path))
    found = storage.read_json(f"{tmp_path}/environment.json")
    assert found["spark"]["master"] == "yarn"
    assert found["leader"]["processor"] == found["driver"]["processor"]


def test_without_a_driver_rank_0_writes_the_whole_file(tmp_path):
    write_leader_machine(str(tmp_path))
    found = storage.read_json(f"{tmp_path}/environment.json")
    assert found["spark"] is None
    assert found["leader"]["cores"] >= 1


def test_no_user_and_no_home_are_in_it(monkeypatch):
    monkeypatch.setattr("sys.argv", ["hilum", "run", "--images", f"{Path.home()}/xrays"])
    text = json.dumps(describe_environment())
    assert "hilum run --images ~/xrays" in text
    assert str(Path.home()) not in text


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        (["/opt/venv/bin/hilum", "train", "--epochs", "3"], "hilum train --epochs 3"),
        (["hilum", "--images", "s3://key:secret@host/a b"], 'hilum --images "s3://host/a b"'),
        (["hilum", "--mlflow", "https://me:pw@flow:5000"], "hilum --mlflow https://flow:5000"),
        (["hilum", "--token", "abc", "--seed", "1"], "hilum --token <hidden> --seed 1"),
        (["hilum", "--api-key=abc"], "hilum --api-key=<hidden>"),
        (["/usr/lib/ipykernel_launcher.py", "-f", "/run/user/kernel.json"], "notebook"),
        ([""], "python"),
    ],
)
def test_the_command_is_kept_without_what_opens_doors(typed, kept):
    assert command_line(typed) == kept


def test_the_users_name_in_a_path_is_hidden():
    user = getpass.getuser()
    assert command_line(["hilum", f"/mnt/{user}/x"]) == "hilum /mnt/<user>/x"
    assert command_line(["hilum", f"/mnt/x{user}/y"]) == f"hilum /mnt/x{user}/y"


def test_the_commit_is_that_of_the_users_checkout(tmp_path):
    assert git_state(tmp_path) is None
    (tmp_path / "a.py").write_text("1\n")

    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
        return subprocess.run(
            ["git", "-C", tmp_path, *identity, *arguments],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()

    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    assert git_state(tmp_path) == {"commit": git("rev-parse", "HEAD"), "changed": False}
    (tmp_path / "a.py").write_text("2\n")
    assert git_state(tmp_path)["changed"] is True
