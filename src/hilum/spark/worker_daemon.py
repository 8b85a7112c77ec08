"""Parent of Spark's Python workers that has imported Hilum, so that none of them has to.

Spark forks its workers from one process per executor, which by itself imports nothing: torch and
Spark ML are then imported by each worker, several seconds of CPU and hundreds of megabytes for
each core. Forked from here, workers start in a moment and share those pages.

What a fork would lose is threads and devices. There are no threads but those of OpenBLAS, which
stops and starts its own around a fork, and importing torch touches no GPU (pytorch.org, "CUDA in
multiprocessing"); the tests look. `local_session` names this module in
`spark.python.daemon.module` where executors are sure to have it, which is on this machine.
"""

import gc

from pyspark.daemon import manager

__all__: list[str] = []

if __name__ == "__main__":
    # `python -m` imported the package hilum.spark, and all it needs, before this module. Objects
    # that a collection does not visit are pages that a fork does not copy.
    gc.collect()
    gc.freeze()
    manager()
