"""Who trains on what when no host holds everything: shards dealt to parts, anew every epoch.

A part is what one host holds of the data for one epoch. Shards are dealt by (seed, epoch); within
a part the samples are shuffled; the parts' orders are merged evenly into one global order, so that
any stretch of it takes from each part in proportion to its size. A step is a slice of that order,
and a rank trains those samples of the step whose part its host holds. So every sample is seen
exactly once an epoch, and every rank takes the same number of steps, as with a whole copy.

The order depends on the number of parts, not on that of ranks or hosts: a run keeps the number it
began with, and on fewer hosts some hold two parts (decision 0028).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hilum.errors import require
from hilum.training.sampler import Samples, epoch_order, rank_share

__all__ = ["PartLayout", "deal_shards", "merge_parts"]

_DEAL = 1  # the deal's random numbers, apart from those of the order
_LAST_SHARDS = 2  # per part, dealt by size


def deal_shards(
    sizes: npt.NDArray[np.float64], num_parts: int, seed: int, epoch: int
) -> npt.NDArray[np.int64]:
    """Part of each shard in one epoch, int64 (shard,).

    Shards come in random order, each to the part that has least so far; the last few largest
    first, which leaves the parts a fraction of a shard apart.

    Args:
        sizes: of each shard, in any unit that should be even over parts.
    """
    require(num_parts > 0, "num_parts", "positive", num_parts)
    sequence = np.random.SeedSequence([seed, epoch, _DEAL])
    order = np.random.Generator(np.random.Philox(sequence)).permutation(len(sizes))
    # Few shards by size alone would fall the same way every epoch.
    by_size = min(_LAST_SHARDS * num_parts, len(order) // 3)
    begin, end = np.split(order, [len(order) - by_size])
    end = end[np.argsort(-sizes[end], kind="stable")]
    part_of = np.zeros(len(sizes), dtype=np.int64)
    loads = np.zeros(num_parts)
    for shard in (*begin.tolist(), *end.tolist()):
        part_of[shard] = part = int(loads.argmin())
        loads[part] += sizes[shard]
    return part_of


def merge_parts(parts: npt.NDArray[np.int64], seed: int, epoch: int) -> Samples:
    """Order of one epoch, int64 (sample,): positions in `parts`, which gives each sample's part.

    Sample j of the n of a part comes at (j + 1/2) / n of the epoch. With one part this is
    `epoch_order`.
    """
    shuffled = epoch_order(len(parts), seed, epoch)
    part_of = parts[shuffled]
    counts = np.bincount(part_of)
    by_part = np.argsort(part_of, kind="stable")
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    within = np.empty(len(parts))
    within[by_part] = (np.arange(len(parts)) - starts + 0.5) / counts[part_of[by_part]]
    return shuffled[np.lexsort((part_of, within))]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartLayout:
    """Which host serves which parts, and how the ranks of a host share them.

    Attributes:
        num_parts: hosts of the run when it began.
        host_of_rank: host 0, 1, ... of each rank; the ranks of a host are neighbours.
    """

    num_parts: int
    host_of_rank: tuple[int, ...]

    @property
    def num_hosts(self) -> int:
        """Hosts there are now."""
        return max(self.host_of_rank) + 1

    def parts_of(self, host: int) -> tuple[int, ...]:
        """Parts a host holds: one; several with fewer hosts than parts; one of others' with more.

        A part that several hosts hold is shared by the ranks of all of them.
        """
        if self.num_hosts > self.num_parts:
            return (host % self.num_parts,)
        return tuple(range(host, self.num_parts, self.num_hosts))

    def shares(self, samples: Samples, parts: npt.NDArray[np.int64]) -> list[Samples]:
        """Samples of each rank out of a step's; together exactly the step's.

        Args:
            samples: of a whole step. parts: the part of each of them.
        """
        shares: list[list[Samples]] = [[] for _ in self.host_of_rank]
        for part in range(self.num_parts):
            ranks = self._ranks_of(part)
            own = samples[parts == part]
            for place, rank in enumerate(ranks):
                shares[rank].append(rank_share(own, place, len(ranks)))
        return [np.concatenate(share) if share else samples[:0] for share in shares]

    def _ranks_of(self, part: int) -> Sequence[int]:
        return [r for r, host in enumerate(self.host_of_rank) if part in self.parts_of(host)]
