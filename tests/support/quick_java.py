"""Options of Java for tests: a short job never repays what a long one gains from."""

import sys
from pathlib import Path

__all__ = ["QUICK_JAVA"]

# Written by `make test` (scripts/spark_classes.py); without it all works, with twice the CPU time.
_CLASSES = Path(sys.prefix) / "spark-classes.jsa"
_SHARED = f" -XX:SharedArchiveFile={_CLASSES} -Xlog:cds=off -Xlog:cds+dynamic=off"

# The first compiler only, and the classes of an earlier process if there are some.
QUICK_JAVA = "-XX:TieredStopAtLevel=1" + (_SHARED if _CLASSES.is_file() else "")
