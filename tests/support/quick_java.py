"""Options of Java for tests: a short job never repays what a long one gains from."""

import sys
from pathlib import Path

__all__ = ["QUICK_JAVA"]

# Written by `make test` (scripts/spark_classes.py); without it all works, with twice the CPU time.
_CLASSES = Path(sys.prefix) / "spark-classes.jsa"
_SHARED = f" -XX:SharedArchiveFile={_CLASSES} -Xlog:cds=off -Xlog:cds+dynamic=off"

# The first compiler only, a collector without threads of its own, and the classes of an earlier
# process if there are some.
_USABLE = _CLASSES.is_file() and " " not in str(_CLASSES)  # spaces separate Java's options
QUICK_JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC" + (_SHARED if _USABLE else "")
