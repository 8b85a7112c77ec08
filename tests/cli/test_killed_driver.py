"""SIGKILL of the driver in the middle of a run on two executors, then `hilum train --resume`."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hilum.phantom import PhantomConfig, write_dataset
from hilum.training import read_attempts
from processes import left_of, processes_of
from quick_java import QUICK_JAVA
from warm_command import run_hilum

pytestmark = [pytest.mark.slow, pytest.mark.spark, pytest.mark.cluster]

HILUM = Path(sys.executable).with_name("hilum")
PHANTOMS = PhantomConfig(size_px=64, seed=1, prevalence_scale=4.0, prevalence_floor=0.1)
EPOCHS = 16  # seconds of them, so that the first is seen before the last
WAIT_S = 300  # against a hang, not a measure


def test_a_run_whose_driver_was_killed_leaves_no_process_and_can_be_resumed(tmp_path):
    write_dataset(tmp_path / "data", 60, PHANTOMS)
    (tmp_path / "tmp").mkdir()
    environment = {
        **os.environ,
        "JDK_JAVA_OPTIONS": QUICK_JAVA,
        "TMPDIR": str(tmp_path / "tmp"),
    }
    command = [str(HILUM), "run", "--images", "data/images", "--labels", "data/Data_Entry_2017.csv"]
    command += ["--out", "run", "--model", "timm:test_resnet", "--weights", "random"]
    command += ["--epochs", str(EPOCHS), "--image-size", "32", "--master", "local-cluster[2,1,512]"]
    history, checkpoints = tmp_path / "run/history.json", tmp_path / "run/checkpoints"
    with (tmp_path / "said").open("w") as said:
        started = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=said, stderr=said, start_new_session=True
        )
    try:
        deadline = time.monotonic() + WAIT_S
        # Checkpoints are written beside training, so the first may come after the history.
        while not (history.exists() and list(checkpoints.glob("step-*.json"))):
            assert started.poll() is None, (tmp_path / "said").read_text()
            assert time.monotonic() < deadline, "no epoch was finished"
            time.sleep(0.05)
        os.kill(started.pid, signal.SIGKILL)
        started.wait()
        assert left_of(started.pid) == {}, "ranks, executors and Java end with their driver"
    finally:
        for number in processes_of(started.pid):
            os.kill(number, signal.SIGKILL)
    done = len(json.loads(history.read_text())["epochs"])
    assert 0 < done < EPOCHS
    again = run_hilum("train", "--resume", "run", "--master", "local[1]", cwd=tmp_path)
    assert again.returncode == 0, again.stderr[-4000:]
    assert len(json.loads(history.read_text())["epochs"]) == EPOCHS
    assert (tmp_path / "run" / "bundle" / "manifest.json").exists()
    killed, resumed = read_attempts(str(tmp_path / "run"))
    assert (killed.outcome, killed.ranks) == ("stopped", 2)
    assert (resumed.outcome, resumed.ranks) == ("done", 1), "one executor, one rank"
    assert resumed.first_step > 0
