"""Keep the warnings and log lines of pydicom and Pillow to ourselves while one file is read.

What they say is either in the result already, as a reason or a warning code, or it quotes values
of the file, which may be patient data. It must not reach a log because a file was odd.
"""

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["quiet"]

_LOCK = threading.RLock()


@contextmanager
def quiet() -> Iterator[None]:
    """Silence `warnings` and the "pydicom" logger; one thread at a time.

    `warnings.catch_warnings` swaps process-wide state, so callers in a thread pool take turns.
    For DICOM this costs nothing: the decoders hold the interpreter lock anyway (two threads took
    as long as two reads in a row with openjpeg, GDCM, CharLS and RLE). A warning that unrelated
    code raises in another thread meanwhile is lost; an error is not.
    """
    logger = logging.getLogger("pydicom")
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        propagate, logger.propagate = logger.propagate, False
        try:
            yield
        finally:
            logger.propagate = propagate
