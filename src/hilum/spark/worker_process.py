"""What a Python worker of Spark does once, after it has imported what its task needs."""

import gc
from functools import lru_cache

__all__ = ["spare_the_collector"]


@lru_cache(maxsize=1)
def spare_the_collector() -> None:
    """Take all objects of this moment out of the garbage collector's sight, once per process.

    Spark's worker daemon calls gc.collect() after every task (pyspark/daemon.py). With torch loaded
    that walks a million objects which live as long as the process: 0.15 s a task, half as much
    again as decoding the 29 files which Spark puts into one
    (benchmarks/cache_against_decoder.py).
    """
    gc.collect()
    gc.freeze()
