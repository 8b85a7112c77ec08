"""Reading many files with the next ones already on their way: storage far off answers slowly."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

__all__ = ["read_ahead"]

FILES_AHEAD = 8


def read_ahead(urls: Iterable[str], read: Callable[[str], bytes]) -> Iterator[Future[bytes]]:
    """For each URL, in order, what `read` gives or raises; `.result()` tells which.

    At most `FILES_AHEAD` files are being read or wait in memory.
    """
    waiting: deque[Future[bytes]] = deque()
    with ThreadPoolExecutor(FILES_AHEAD, thread_name_prefix="hilum-read") as threads:
        try:
            for url in urls:
                if len(waiting) == FILES_AHEAD:
                    yield waiting.popleft()
                waiting.append(threads.submit(read, url))
            while waiting:
                yield waiting.popleft()
        finally:
            for one in waiting:
                one.cancel()
