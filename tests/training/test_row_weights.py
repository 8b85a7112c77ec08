"""Rows that count more than others, from the cache's index to the weights of the network."""

import numpy as np
import pytest
import torch

from hilum.preprocessing import Chain, ChannelNormalize, GreyToRGB, Resize
from hilum.training import LocalLauncher, load_checkpoint, train_worker
from training_cases import SIZE, start_run, write_cache

PLAIN = Chain((Resize(SIZE, SIZE), GreyToRGB(), ChannelNormalize((0.5,) * 3, (0.25,) * 3)))
ROWS = list(range(12))
COUNTS = [1, 2, 1, 3, 2, 0, 1, 1, 2, 1, 1, 1]


def train(folder, num_ranks=1, **cache):
    write_cache(folder / "cache", **cache)
    changes = {"preprocessing": PLAIN, "global_batch_size": 24, "max_epochs": 3, "dropout": 0.0}
    run = start_run(folder / "run", folder / "cache", **changes)
    LocalLauncher(num_threads=1).launch(train_worker, run, num_ranks)
    last = load_checkpoint(run)
    return last.weights, [(record.train_loss, record.valid_loss) for record in last.history]


def test_weight_two_is_the_row_twice_and_weight_zero_is_no_row(tmp_path):
    twice = train(tmp_path / "twice", rows=np.repeat(ROWS, COUNTS))
    weighted = train(tmp_path / "weighted", rows=ROWS, weights=COUNTS)
    unweighted = train(tmp_path / "unweighted", rows=ROWS)
    assert weighted[1] == [pytest.approx(pair, rel=1e-5) for pair in twice[1]]
    assert weighted[1] != [pytest.approx(pair, rel=1e-3) for pair in unweighted[1]]
    for name, value in weighted[0].items():
        torch.testing.assert_close(value, twice[0][name], rtol=1e-3, atol=1e-5)


def test_two_ranks_train_the_same_weighted_mean_as_one(tmp_path):
    weights = np.linspace(0.1, 4.0, len(ROWS)).tolist()
    one = train(tmp_path / "one", 1, rows=ROWS, weights=weights)
    two = train(tmp_path / "two", 2, rows=ROWS, weights=weights)
    assert two[1] == [pytest.approx(pair, rel=1e-5) for pair in one[1]]
