"""Which samples a step sees: a function of seed and epoch, never of the number of ranks.

The order of an epoch is one global permutation; a step is a slice of it; a rank's share is a
slice of the step. So 1, 2 or 4 ranks see the same global batches, every sample is seen exactly
once per epoch whatever the sizes, and resuming at any step is arithmetic.
"""

import math

import numpy as np
import numpy.typing as npt

from hilum.errors import require

__all__ = ["epoch_order", "num_steps", "rank_share", "step_samples"]

Samples = npt.NDArray[np.int64]


def epoch_order(num_samples: int, seed: int, epoch: int) -> Samples:
    """Shuffled sample positions of one epoch, int64 (num_samples,).

    Philox is counter based, so the permutation is the same on every machine (Salmon et al. 2011).
    """
    require(num_samples > 0, "num_samples", "positive", num_samples)
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, epoch])))
    return generator.permutation(num_samples).astype(np.int64)


def num_steps(num_samples: int, global_batch_size: int) -> int:
    """Optimizer steps per epoch; the last one may be smaller."""
    return math.ceil(num_samples / global_batch_size)


def step_samples(order: Samples, step: int, global_batch_size: int) -> Samples:
    """The global batch of one step of the epoch."""
    return order[step * global_batch_size : (step + 1) * global_batch_size]


def rank_share(samples: Samples, rank: int, num_ranks: int) -> Samples:
    """A rank's contiguous part of a global batch; parts differ by at most one sample.

    May be empty when there are fewer samples than ranks.
    """
    bounds = [len(samples) * part // num_ranks for part in (rank, rank + 1)]
    return samples[bounds[0] : bounds[1]]
