"""Settings of a session whose Python workers find torch imported; see `daemon/warm_daemon.py`."""

import os
from pathlib import Path

__all__ = ["WARM_PYTHON"]

_FOLDER = Path(__file__).parent / "daemon"
_PYTHONPATH = os.pathsep.join(filter(None, [str(_FOLDER), os.environ.get("PYTHONPATH")]))

WARM_PYTHON = {
    "spark.python.daemon.module": "warm_daemon",
    "spark.executorEnv.PYTHONPATH": _PYTHONPATH,
}
