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

pytestmark = [pytest.mark.slow, pytest.mark.spark]

HILUM = Path(sys.executable).with_name("hilum")
ENVIRONMENT = {**os.environ, "JDK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1"}
PHANTOMS = PhantomConfig(size_px=64, seed=1, prevalence_scale=4.0, prevalence_floor=0.1)
INTERRUPTED = 130  # 128 + SIGINT, what shells expect
WAIT_S = 120


def test_ctrl_c_leaves_checkpoints_to_go_on_from_and_no_half_model(tmp_path):
    write_dataset(tmp_path / "data", 60, PHANTOMS)
    command = [str(HILUM), "run", "--images", "data/images", "--labels", "data/Data_Entry_2017.csv"]
    command += ["--out", "run", "--model", "timm:test_resnet", "--weights", "random"]
    command += ["--epochs", "100000", "--image-size", "32", "--master", "local[1]"]
    started = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    history = tmp_path / "run" / "history.json"
    try:
        deadline = time.monotonic() + WAIT_S
        while not history.exists():
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
    assert processes_of(started.pid) == []
    done = len(json.loads(history.read_text())["epochs"])
    assert 0 < done < 100_000
    pointer = json.loads((tmp_path / "run/checkpoints/last.json").read_text())
    assert len(pointer["history"]["epochs"]) >= done
    assert (tmp_path / "run/checkpoints" / pointer["file"]).exists()


def processes_of(session: int) -> list[str]:
    """Command lines of the processes that still belong to a session."""
    deadline = time.monotonic() + 10
    while True:
        alive = subprocess.run(
            ["ps", "-s", str(session), "-o", "args="], capture_output=True, text=True, check=False
        ).stdout.splitlines()
        if not alive or time.monotonic() > deadline:
            return alive
        time.sleep(0.2)
