import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hilum.training import epoch_order, num_steps, rank_share, step_samples

sizes = st.integers(1, 200)
batches = st.integers(1, 70)
ranks = st.integers(1, 9)


@given(sizes, batches, ranks, st.integers(0, 5), st.integers(0, 5))
def test_every_sample_is_seen_exactly_once_per_epoch(size, batch, num_ranks, seed, epoch):
    order = epoch_order(size, seed, epoch)
    seen = [
        rank_share(step_samples(order, step, batch), rank, num_ranks)
        for step in range(num_steps(size, batch))
        for rank in range(num_ranks)
    ]
    assert sorted(np.concatenate(seen).tolist()) == list(range(size))


@given(sizes, batches, ranks)
def test_global_batches_do_not_depend_on_the_number_of_ranks(size, batch, num_ranks):
    order = epoch_order(size, 3, 1)
    for step in range(num_steps(size, batch)):
        whole = step_samples(order, step, batch)
        shares = [rank_share(whole, rank, num_ranks) for rank in range(num_ranks)]
        assert np.concatenate(shares).tolist() == whole.tolist()
        lengths = [len(share) for share in shares]
        assert max(lengths) - min(lengths) <= 1


def test_epochs_and_seeds_give_other_orders():
    first = epoch_order(100, 0, 0)
    assert (first == epoch_order(100, 0, 0)).all()
    assert (first != epoch_order(100, 0, 1)).any()
    assert (first != epoch_order(100, 1, 0)).any()
