"""Parent of Spark's Python workers that has imported Hilum, so that none of them has to.

Spark forks its workers from one process per executor, which by itself imports nothing: torch,
torchvision, timm and Spark ML are then imported by each worker, ten seconds of CPU and hundreds of
megabytes for each core. Forked from here, workers start in a moment and share those pages.

What a fork would lose is threads and devices. There are no threads but those of OpenBLAS, which
stops and starts its own around a fork, and importing torch touches no GPU (pytorch.org, "CUDA in
multiprocessing"); the tests look. `hilum.spark.local_session` names this module in
`spark.python.daemon.module` where executors are sure to have it, which is on this machine.

Not in hilum.spark: Python imports a package before its modules, and here PySpark must come last.
"""

import gc
import importlib
import os
import sys
from importlib.machinery import PathFinder

__all__ = ["without_zipped_pyspark"]

_PRELOADED = ("hilum.spark", "torchvision", "timm")
# Spark 4 sets it for workers of SQL (pyspark.udf.simplifiedTraceback) and keeps a second daemon for
# RDDs, such as createDataFrame makes of a list; their workers need none of our modules.
_OF_SQL = "SPARK_SIMPLIFIED_TRACEBACK"


def without_zipped_pyspark(path: list[str]) -> list[str]:
    """The search path without PySpark's archives, if the package is installed as well.

    Spark puts pyspark.zip in front of all else. It holds no compiled code, so that every daemon
    would compile PySpark anew, and every worker that is told of a new folder reads its list of
    files again, once for each package in it.
    """
    rest = [entry for entry in path if not entry.endswith(("/pyspark.zip", "-src.zip"))]
    installed = all(PathFinder.find_spec(name, rest) for name in ("pyspark", "py4j"))
    return rest if installed else path


def _main() -> None:
    sys.path[:] = without_zipped_pyspark(sys.path)
    sys.path_importer_cache.clear()
    for name in _PRELOADED if _OF_SQL in os.environ else ():
        importlib.import_module(name)
    from pyspark.daemon import manager

    # Objects that a collection does not visit are pages that a fork does not copy.
    gc.collect()
    gc.freeze()
    manager()


if __name__ == "__main__":
    _main()
