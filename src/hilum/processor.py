"""What this machine's processor really does, as opposed to what it announces.

Virtual machines have been seen to announce AMX tiles and AVX-512 bfloat16 (cpuid, /proc/cpuinfo,
arch_prctl), to kill the process at the first tile instruction, and, held to AVX-512, to compute
bfloat16 slower than float32 (0.7 times). torch believes the announcement: a Python worker ends
with SIGILL and no traceback. So bfloat16 is tried and timed first, in a child.
"""

import ctypes
import faulthandler
import logging
import os
import signal
import time
from functools import lru_cache

import torch
from torch import nn

__all__ = ["give_back_freed_memory", "has_fast_bfloat16", "keep_freed_memory"]

logger = logging.getLogger(__name__)

PROBE_TIMEOUT_S = 20.0
ROUNDS = 12
WORTHWHILE = 1.2  # times faster than float32, or it is not worth the lost digits
_FAST, _NOT_FAST = 0, 3
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _NEVER = -1, -4, 2**31 - 1  # malloc.h
_MMAP_MAX = 65536  # glibc's own, DEFAULT_MMAP_MAX


def keep_freed_memory() -> bool:
    """Let this process keep the memory it frees, for itself; False where the C library cannot.

    glibc returns every large block to the kernel at once, and each training step then has to fault
    in and clear the same gigabytes of activations again: 600,000 page faults a step of ResNet-50
    (batch 32, 224 px), none with this. Measured 1.2 to 1.3 times faster steps
    (benchmarks/freed_memory.py). For worker processes, not for a user's own: the memory is given
    back when the process ends.

    Source: mallopt(3). Without mmap (M_MMAP_MAX = 0) and trimming, blocks are reused.
    """
    return _mallopt(_M_MMAP_MAX, 0) and _mallopt(_M_TRIM_THRESHOLD, _NEVER)


def give_back_freed_memory() -> bool:
    """Let large blocks that are allocated from now on go back when they are freed, as at first."""
    return _mallopt(_M_MMAP_MAX, _MMAP_MAX)


def _mallopt(parameter: int, value: int) -> bool:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl and macOS have none
    return mallopt is not None and bool(mallopt(parameter, value))


@lru_cache(maxsize=1)
def has_fast_bfloat16() -> bool:
    """Whether bfloat16 layers run in this process, and faster than float32 ones. About 0.2 s."""
    announced = torch.cpu.get_capabilities()
    if not (announced.get("amx_bf16") or announced.get("avx512_bf16")):
        return False
    status = _child_status()
    if status not in (_FAST, _NOT_FAST):
        logger.warning("the processor announces bfloat16 but cannot run it; using float32")
    return status == _FAST


def _child_status() -> int:
    """Exit code of a forked child that has this process's oneDNN state; negative: killed."""
    if not hasattr(os, "fork"):
        return _NOT_FAST
    child = os.fork()
    if child == 0:
        try:
            faulthandler.disable()
            # One thread: the parent's OpenMP threads do not exist in the child.
            torch.set_num_threads(1)
            os._exit(_FAST if _speed_up() >= WORTHWHILE else _NOT_FAST)
        finally:
            os._exit(1)
    deadline = time.monotonic() + PROBE_TIMEOUT_S
    while time.monotonic() < deadline:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid == child:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -signal.SIGKILL


def _speed_up() -> float:
    """Time of a float32 convolution and linear layer over that of bfloat16 ones."""
    convolution = nn.Conv2d(64, 64, 3, padding=1).to(memory_format=torch.channels_last)
    linear = nn.Linear(256, 256)
    image = torch.ones(2, 64, 56, 56).contiguous(memory_format=torch.channels_last)
    rows = torch.ones(256, 256)  # large enough for tile kernels; small products avoid them

    def once_s(dtype: torch.dtype) -> float:
        with torch.inference_mode(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            started = time.perf_counter()
            convolution(image)
            linear(rows)
            return time.perf_counter() - started

    # In turns, and the best of each: on a busy machine a burst of other work hits both alike.
    pairs = [(once_s(torch.float32), once_s(torch.bfloat16)) for _ in range(ROUNDS)]
    return min(full for full, _ in pairs) / min(half for _, half in pairs)
