"""Networks on the driver, one thread at a time.

While torch.fx follows a network to find its layers, it replaces `nn.Module.__call__` for the whole
process; a forward pass or a second trace in another thread fails or leaves the replacement in
place. `CrossValidator(parallelism=2)` fits in threads.
"""

import threading
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

__all__ = ["one_at_a_time"]

P = ParamSpec("P")
R = TypeVar("R")

_LOCK = threading.RLock()


def one_at_a_time(function: Callable[P, R]) -> Callable[P, R]:
    """Let no two threads run functions with this mark at the same time; they may call each other.

    Never around the training itself, for which other fits must not wait here.
    """

    @wraps(function)
    def alone(*args: P.args, **kwargs: P.kwargs) -> R:
        with _LOCK:
            return function(*args, **kwargs)

    return alone
