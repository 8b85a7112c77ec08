"""Ctrl-C in the middle of a run, as a terminal sends it: to the whole group of processes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hilum.phantom import PhantomConfig, write_dataset
from hilum.training import load_checkpoint, read_attempts
from processes import left_of, shared_memory
from quick_java import QUICK_JAVA

pytestmark = [pytest.mark.slow, pytest.mark.spark]

HILUM = Path(sys.executable).with_name("hilum")
PHANTOMS = PhantomConfig(size_px=64, seed=1, prevalence_scale=4.0, prevalence_floor=0.1)
INTERRUPTED = 130  # 128 + SIGINT, what shells expect
WAIT_S = 120


def test_ctrl_c_leaves_checkpoints_to_go_on_from_and_no_half_model(tmp_path):
    write_dataset(tmp_path / "data", 60, PHANTOMS)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    java = f"{QUICK_JAVA} -Djava.io.tmpdir={temporary}"
    shared = shared_memory()
    command = [str(HILUM), "run", "--images", "data/images", "--labels", "data/Data_Entry_2017.csv"]
    command += ["--out", "run", "--model", "timm:test_resnet", "--weights", "random"]
    command += ["--epochs", "100000", "--image-size", "32", "--master", "local[1]"]
    started = subprocess.Popen(
        command,
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(temporary), "JDK_JAVA_OPTIONS": java},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    history, checkpoints = tmp_path / "run/history.json", tmp_path / "run/checkpoints"
    try:
        deadline = time.monotonic() + WAIT_S
        while not (history.exists() and list(checkpoints.glob("step-*.json"))):
            assert started.poll() is None, started.stderr.read()
            assert time.monotonic() < deadline, "no epoch was finished"
            time.sleep(0.1)
        os.killpg(started.pid, signal.SIGINT)
        _, said = started.communicate(timeout=WAIT_S)
    finally:
        if started.poll() is None:
            os.killpg(started.pid, signal.SIGKILL)
    assert started.returncode == INTERRUPTED, said
    assert "Traceback" not in said
    assert not (tmp_path / "run" / "bundle").exists()
    assert not list((tmp_path / "run").rglob("*.partial*"))
    assert left_of(started.pid) == {}
    # Torch's own cache folder is one per user, for all processes to come.
    assert [path.name for path in temporary.iterdir() if "torchinductor" not in path.name] == []
    assert shared_memory() == shared
    assert not (tmp_path / "run" / "heartbeats").exists()
    assert [path for path in (tmp_path / "run").rglob(".*")] == []
    done = len(json.loads(history.read_text())["epochs"])
    assert 0 < done < 100_000
    last = load_checkpoint(str(tmp_path / "run"))
    assert last is not None, "verified as it was read"
    assert 0 < len(last.history) <= done  # the last ones may have been on their way
    (attempt,) = read_attempts(str(tmp_path / "run"))
    assert attempt.outcome == "stopped"
