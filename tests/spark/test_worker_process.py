"""What is done once in every Python worker of Spark."""

import gc
import time

import pytest
import torch

from hilum.spark.worker_process import spare_the_collector


@pytest.fixture
def thawed():
    gc.unfreeze()
    spare_the_collector.cache_clear()
    yield
    gc.unfreeze()
    spare_the_collector.cache_clear()


def collecting_s():
    times = []
    for _ in range(3):
        started = time.perf_counter()
        gc.collect()
        times.append(time.perf_counter() - started)
    return min(times)


def test_collecting_after_every_task_costs_next_to_nothing(thawed):
    before = collecting_s()
    spare_the_collector()
    assert collecting_s() < before / 5
    assert gc.get_freeze_count() > 10_000, f"torch {torch.__version__} is loaded"


def test_what_a_task_leaves_behind_is_still_collected(thawed):
    spare_the_collector()
    gone = []

    class Ring:
        def __init__(self):
            self.own = self

        def __del__(self):
            gone.append(True)

    Ring()
    spare_the_collector()
    gc.collect()
    assert gone == [True]


def seen_by_a_worker(batches):
    """By value to the worker: what its process held before it imported anything for this task."""
    import os
    import sys
    from pathlib import Path

    import pyarrow as pa

    for _ in batches:
        pass
    torch = sys.modules.get("torch")
    parent = Path(f"/proc/{os.getppid()}/cmdline").read_text().split("\0")
    seen = {
        "ready": ["hilum.training.worker" in sys.modules],
        "touched_a_gpu": [torch is None or torch.cuda.is_initialized()],
        "parent": [" ".join(parent)],
    }
    yield pa.RecordBatch.from_pydict(seen)


@pytest.mark.spark
def test_workers_on_this_machine_start_with_hilum_imported_and_no_gpu_touched(spark):
    schema = "ready boolean, touched_a_gpu boolean, parent string"
    (seen,) = spark.range(0, 1, 1, 1).mapInArrow(seen_by_a_worker, schema).collect()
    assert (seen.ready, seen.touched_a_gpu) == (True, False)
    assert "hilum.worker_daemon" in seen.parent
