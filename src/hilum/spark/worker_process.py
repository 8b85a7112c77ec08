"""What a Python worker of Spark does once, after it has imported what its task needs."""

import gc
from functools import lru_cache

__all__ = ["spare_the_collector"]


@lru_cache(maxsize=1)
def spare_the_collector() -> None:
    """Take all objects of this moment out of the garbage collector's sight, once per process.

    Spark's worker daemon calls gc.collect() after every task (pyspark/daemon.py). With torch loaded
    that walks all the objects of its modules, which live as long as the process: about 0.13 s of
    CPU a task in either worker of a cache build, beside 0.28 s to decode the task's 29 files
    (benchmarks/results.md).
    """
    gc.collect()
    gc.freeze()
