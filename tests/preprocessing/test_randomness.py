"""Random numbers: reference values of SplitMix64, uniformity, independence, purity."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hilum.errors import InvalidValueError
from hilum.preprocessing import uniform_draws
from hilum.preprocessing.randomness import splitmix64

MANY = np.arange(100_000, dtype=np.int64)


def test_splitmix64_gives_the_published_numbers() -> None:
    # The first outputs of Vigna's splitmix64.c (prng.di.unimi.it) for seed 0.
    golden = np.uint64(0x9E3779B97F4A7C15)
    first = splitmix64(golden * np.arange(3, dtype=np.uint64))
    assert [hex(number) for number in first.tolist()] == [
        "0xe220a8397b1dcdaf",
        "0x6e789e6aa1b965f4",
        "0x6c45d188009454f",
    ]


def test_draws_of_consecutive_samples_are_uniform() -> None:
    draws = uniform_draws(0, 0, MANY, step=0, num_draws=3).numpy()
    assert draws.shape == (100_000, 3)
    assert draws.dtype == np.float32
    assert draws.min() >= 0
    assert draws.max() < 1
    for column in draws.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-3
        counts = np.bincount((column * 256).astype(int), minlength=256)
        assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize(
    ("seed", "epoch", "next_sample", "step", "draw"),
    [
        (1, 2, 1, 0, 0),
        (2, 2, 0, 0, 0),
        (1, 3, 0, 0, 0),
        (1, 2, 0, 1, 0),
        (1, 2, 0, 0, 1),
        (2, 1, 0, 0, 0),
        (0, 1, 2, 0, 0),
    ],
)
def test_neighbours_are_independent(
    seed: int, epoch: int, next_sample: int, step: int, draw: int
) -> None:
    here = uniform_draws(1, 2, MANY, step=0, num_draws=1)[:, 0].numpy()
    drawn = uniform_draws(seed, epoch, MANY + next_sample, step=step, num_draws=draw + 1)
    there = drawn[:, draw].numpy()
    assert abs(np.corrcoef(here, there)[0, 1]) < 4 / np.sqrt(len(MANY))
    table = np.bincount((here * 16).astype(int) * 16 + (there * 16).astype(int), minlength=256)
    assert stats.chisquare(table).pvalue > 1e-3


def test_draws_are_the_same_on_every_machine_and_in_every_version() -> None:
    draws = uniform_draws(7, 3, np.array([0, 1, -5, 2**62]), step=2, num_draws=2)
    assert (draws.double() * 2**24).long().tolist() == [
        [9353096, 12746735],
        [2576675, 11793892],
        [8711112, 15083563],
        [11074188, 1118471],
    ]


@settings(max_examples=50, deadline=None)
@given(
    ids=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=20),
    seed=st.integers(-(2**70), 2**70),
    epoch=st.integers(0, 2**40),
)
def test_a_row_depends_on_its_own_sample_alone(ids: list[int], seed: int, epoch: int) -> None:
    together = uniform_draws(seed, epoch, np.array(ids), step=1, num_draws=3)
    for row, sample in zip(together, ids, strict=True):
        alone = uniform_draws(seed, epoch, torch.tensor([sample]), step=1, num_draws=3)
        assert torch.equal(alone[0], row)
    fewer = uniform_draws(seed, epoch, np.array(ids), step=1, num_draws=1)
    assert torch.equal(fewer, together[:, :1])


def test_sample_ids_must_be_whole_numbers_in_a_row() -> None:
    for ids in (torch.zeros(3), torch.zeros(2, 2).long(), torch.tensor(3)):
        with pytest.raises(InvalidValueError, match="sample_ids must be whole numbers"):
            uniform_draws(0, 0, ids, step=0, num_draws=1)
