import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hilum.training.parts import PartLayout, deal_shards, merge_parts
from hilum.training.sampler import epoch_order, num_steps, step_samples

shard_sizes = st.lists(st.integers(0, 40), min_size=1, max_size=25).filter(any)
layouts = st.lists(st.integers(1, 4), min_size=1, max_size=5).map(
    lambda ranks: tuple(host for host, count in enumerate(ranks) for _ in range(count))
)


def samples_of(sizes):
    return np.repeat(np.arange(len(sizes)), sizes)


@given(shard_sizes, st.integers(1, 6), layouts, st.integers(1, 50), st.integers(0, 3))
def test_every_sample_is_seen_exactly_once_an_epoch_in_steps_of_the_same_size(
    sizes, num_parts, host_of_rank, batch, epoch
):
    part_of_shard = deal_shards(np.array(sizes, float), num_parts, 7, epoch)
    parts = part_of_shard[samples_of(sizes)]
    order = merge_parts(parts, 7, epoch)
    layout = PartLayout(num_parts=num_parts, host_of_rank=host_of_rank)
    seen = []
    for step in range(num_steps(len(order), batch)):
        samples = step_samples(order, step, batch)
        shares = layout.shares(samples, parts[samples])
        assert len(shares) == len(host_of_rank)
        assert sum(map(len, shares)) == len(samples)
        for host, share in zip(host_of_rank, shares, strict=True):
            # A rank is only asked for what its host holds.
            assert set(parts[share].tolist()) <= set(layout.parts_of(host))
        seen += shares
    assert sorted(np.concatenate(seen).tolist()) == list(range(sum(sizes)))


@given(shard_sizes, st.integers(1, 6), st.integers(0, 3))
def test_any_stretch_takes_from_each_part_in_proportion(sizes, num_parts, epoch):
    part_of_shard = deal_shards(np.array(sizes, float), num_parts, 0, epoch)
    parts = part_of_shard[samples_of(sizes)]
    in_order = parts[merge_parts(parts, 0, epoch)]
    total = len(parts)
    for part in range(num_parts):
        so_far = np.cumsum(in_order == part)
        even = np.arange(1, total + 1) * (parts == part).sum() / total
        # Half a sample of this part, and one of each other part that comes at the same point.
        assert np.abs(so_far - even).max() <= 0.5 + num_parts


@given(st.integers(1, 200), st.integers(0, 3), st.integers(0, 3))
def test_one_part_is_the_order_of_a_whole_copy(size, seed, epoch):
    order = merge_parts(np.zeros(size, dtype=np.int64), seed, epoch)
    assert (order == epoch_order(size, seed, epoch)).all()


def test_hosts_hold_other_shards_in_other_epochs_and_about_as_much_as_each_other():
    sizes = np.random.default_rng(0).uniform(500, 1000, 110)
    deals = [deal_shards(sizes, 4, 0, epoch) for epoch in range(8)]
    for deal in deals:
        loads = [sizes[deal == part].sum() for part in range(4)]
        assert max(loads) / min(loads) < 1.03
    # By chance a shard stays with its host in one of four epochs.
    kept = [float((a == b).mean()) for a, b in itertools.pairwise(deals)]
    assert 0.1 < np.mean(kept) < 0.4
    assert (deals[3] == deal_shards(sizes, 4, 0, 3)).all()


@given(st.integers(1, 8), layouts)
def test_every_part_is_held_by_some_host_whatever_hosts_are_left(num_parts, host_of_rank):
    layout = PartLayout(num_parts=num_parts, host_of_rank=host_of_rank)
    held = [part for host in range(layout.num_hosts) for part in layout.parts_of(host)]
    assert set(held) == set(range(num_parts))
    if layout.num_hosts <= num_parts:
        assert len(held) == num_parts


def test_each_order_is_the_same_whatever_hosts_serve_it():
    parts = deal_shards(np.full(12, 10.0), 4, 3, 0)[np.repeat(np.arange(12), 10)]
    order = merge_parts(parts, 3, 0)
    for hosts in ((0, 1, 2, 3), (0, 0, 1), (0,), (0, 1, 2, 3, 4, 5)):
        layout = PartLayout(num_parts=4, host_of_rank=hosts)
        shares = layout.shares(order[:16], parts[order[:16]])
        assert sorted(np.concatenate(shares).tolist()) == sorted(order[:16].tolist())
