"""Random numbers as a pure function of what they are for.

An image's augmentation must not depend on which rank, batch or device it meets, or in which
order. So there is no generator with a state: every number is computed from (seed, epoch, sample,
step, draw) by a counter-based construction, the idea of Philox (Salmon et al., "Parallel random
numbers: as easy as 1, 2, 3", SC 2011) with the mixing function of SplitMix64 (Steele, Lea and
Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hilum.errors import require

__all__ = ["splitmix64", "uniform_draws"]

_GOLDEN = 0x9E3779B97F4A7C15  # 2^64 / golden ratio, SplitMix64's increment
_WORD = 2**64 - 1


def uniform_draws(
    seed: int,
    epoch: int,
    sample_ids: Tensor | npt.NDArray[np.int64],
    *,
    step: int,
    num_draws: int,
) -> Tensor:
    """Return uniform numbers in [0, 1), float32 of shape (N, num_draws), in host memory.

    Row i depends on `sample_ids[i]` and the other arguments alone, never on the other rows.

    Args:
        seed: any whole number.
        epoch: any whole number.
        sample_ids: int64 (N,); equal ids get equal rows.
        step: which random step the numbers are for.
        num_draws: numbers per sample.
    """
    ids = np.asarray(sample_ids.cpu() if isinstance(sample_ids, Tensor) else sample_ids)
    require(
        ids.ndim == 1 and ids.dtype.kind in "iu",
        "sample_ids",
        "whole numbers of shape (N,)",
        f"{ids.dtype} of shape {ids.shape}",
    )
    # Each word is mixed in by a bijection, so two samples never share a state in one epoch.
    state = np.zeros(1, np.uint64)
    for word in (_as_word(seed), _as_word(epoch), ids.astype(np.uint64), _as_word(step)):
        state = splitmix64(state ^ word)
    counters = np.uint64(_GOLDEN) * np.arange(num_draws, dtype=np.uint64)
    bits = splitmix64(state[:, None] + counters)
    # The upper 24 bits fill a float32 exactly: 1.0 cannot occur.
    return torch.from_numpy((bits >> np.uint64(40)).astype(np.float32) * np.float32(2**-24))


def splitmix64(state: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return the number that the SplitMix64 generator gives next in each of the states."""
    mixed = state + np.uint64(_GOLDEN)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _as_word(number: int) -> npt.NDArray[np.uint64]:
    """Return a whole number as one unsigned 64-bit word (modulo 2^64) that wraps silently."""
    return np.array([number & _WORD], dtype=np.uint64)
