"""A disk that really is full: the run ends with its name, and goes on once there is space."""

import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from hilum.errors import TrainingError
from hilum.training import (
    Every,
    LocalLauncher,
    launch_with_retries,
    load_checkpoint,
    read_attempts,
    train_worker,
)
from hilum.training.checkpoint import checkpointed_step
from training_cases import start_run

TRAINING = {"max_epochs": 6, "checkpoint_every": Every(steps=1)}
ONE_THREAD = LocalLauncher(num_threads=1)
MIB = 2**20


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 24 MiB in memory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=24m", "hilum-tests", str(folder)]
    mounted = subprocess.run(command, capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("mounting a small file system needs rights that this user has not")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Write until nothing more fits."""
    with suppress(OSError), (folder / "junk").open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * MIB)
    with suppress(OSError), (folder / "crumbs").open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 512)


def test_a_full_disk_ends_the_run_with_its_name_and_space_lets_it_go_on(
    small_disk, tmp_path, cache_directory
):
    unbroken = start_run(tmp_path / "unbroken", cache_directory, **TRAINING)
    expected = ONE_THREAD.launch(train_worker, unbroken, 1)
    run = start_run(small_disk / "run", cache_directory, **TRAINING)

    def fill_after_the_first_checkpoint() -> None:
        while checkpointed_step(run) == 0:
            time.sleep(0.01)
        fill(small_disk)

    filling = threading.Thread(target=fill_after_the_first_checkpoint)
    filling.start()
    with pytest.raises(TrainingError) as caught:
        launch_with_retries(ONE_THREAD, train_worker, run, 1)
    filling.join()
    assert f"checkpoints must be written to {run}. Got OSError: [Errno 28]" in str(caught.value)
    assert "`hilum train --resume`" in str(caught.value)
    kept = load_checkpoint(run)
    assert 0 < kept.step < 24, "what was written before is whole"
    for name in ("junk", "crumbs"):
        (small_disk / name).unlink()
    assert launch_with_retries(ONE_THREAD, train_worker, run, 1) == expected
    assert [each.outcome for each in read_attempts(run)][-1] == "done"
    left = [path.name for path in (small_disk / "run").rglob("*") if path.name.startswith(".")]
    assert left == []
