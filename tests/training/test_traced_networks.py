"""Modules that were given as they are train as their own code would, whatever their layers."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn

from hilum.inference import ModelBundle, load_bundle, save_bundle
from hilum.inputs import RowSpec, Target, TensorInput
from hilum.models.starting import build_start, start_of_instance
from hilum.preprocessing import Chain
from hilum.training import (
    LocalLauncher,
    World,
    feature_store,
    features,
    load_checkpoint,
    train_worker,
)
from hilum.training.dropout import FIRST_LAYER, SampleDropout, seed_dropout
from row_runs import losses, start_on_rows, train

ROWS = RowSpec(
    inputs=(TensorInput(column="series", shape=(4, 3)),),
    targets=(Target(column="value", shape=(2,)),),
)


@pytest.fixture(autouse=True)
def local_directory(tmp_path, monkeypatch):
    (tmp_path / "local").mkdir()
    monkeypatch.setenv("HILUM_LOCAL_DIR", str(tmp_path / "local"))


def start(folder, network, **changes):
    """A run on 25 rows, ready to be trained."""
    random = np.random.default_rng(0)
    known = random.normal(size=(25, 2)).astype(np.float32)
    columns = [pa.array(random.normal(size=(25, 12)).tolist())]
    records, reasons = ROWS.pack(columns)
    assert not any(reasons)
    begun = start_of_instance(network)
    model, _ = build_start(begun.architecture, begun, 2)
    built = {"architecture": begun.architecture.name, "design": begun.architecture}
    return start_on_rows(folder, model, ROWS, records, known, **built, **changes)


class Tied(nn.Module):
    """One matrix there and back."""

    def __init__(self):
        super().__init__()
        self.there, self.back = nn.Linear(12, 12), nn.Linear(12, 12, bias=False)
        self.back.weight = self.there.weight
        self.last = nn.Linear(12, 2)

    def forward(self, series):
        return self.last(self.back(torch.tanh(self.there(series.flatten(1)))))


def test_tied_weights_stay_tied_on_any_number_of_ranks_and_in_the_bundle(tmp_path):
    before = Tied()
    run, settings = start(tmp_path / "one", before)
    one, two = train(run), train(start(tmp_path / "two", before)[0], 2)
    assert losses(one) == pytest.approx(losses(two), rel=1e-5)
    assert torch.equal(one.weights["there.weight"], one.weights["back.weight"])
    assert not torch.equal(one.weights["there.weight"], before.there.weight)
    bundle = ModelBundle(
        architecture=settings.architecture,
        design=settings.design,
        findings=("value",),
        preprocessing=Chain(()),
        weights=one.weights,
        rows=settings.rows,
    )
    trained = bundle.network()
    assert trained.there.weight is trained.back.weight
    save_bundle(bundle, str(tmp_path / "saved"))
    live = ModelBundle(**{**_fields(bundle), "weights": trained.state_dict()})
    save_bundle(live, str(tmp_path / "live"))
    assert live.digest == bundle.digest
    given = torch.randn(3, 4, 3)
    for name in ("saved", "live"):
        again = load_bundle(str(tmp_path / name)).network(shared=True)
        torch.testing.assert_close(again(given), trained(given), rtol=0, atol=0)


def _fields(bundle):
    return {name: getattr(bundle, name) for name in ModelBundle.__dataclass_fields__}


class Read(nn.Module):
    """A transformer over steps (T, N, E), as torch.nn has them unless it is told otherwise."""

    def __init__(self, dropout=0.0):
        super().__init__()
        self.widen = nn.Linear(3, 8)
        self.read = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(8, 2, 16, dropout=dropout), 1, enable_nested_tensor=False
        )
        self.drop = nn.Dropout(0.5)
        self.last = nn.Linear(8, 2)

    def forward(self, series):
        found = self.drop(self.read(self.widen(series).transpose(0, 1)))
        return self.last(found.mean(0))


def test_dropout_where_rows_come_second_is_the_same_on_any_number_of_ranks(tmp_path):
    network = Read()
    # Shares of 10 and 5 rows: no share has as many rows as there are steps.
    whole = {"global_batch_size": 10}
    one = train(start(tmp_path / "one", network, **whole)[0])
    two = train(start(tmp_path / "two", network, **whole)[0], 2)
    assert losses(one) == pytest.approx(losses(two), rel=1e-5)


def test_a_transformer_in_torchs_own_order_trains(tmp_path):
    """Also in the last batch of an epoch, which has as many rows as there are steps."""
    assert all(map(np.isfinite, losses(train(start(tmp_path, Read(dropout=0.1))[0]))))


def dropped(shape, samples):
    dropout = SampleDropout(0.5, FIRST_LAYER).train()
    seed_dropout(dropout, 1, 2, torch.tensor(samples))
    return dropout(torch.ones(shape))


def test_a_mask_goes_with_its_sample_wherever_the_sample_is():
    first, second = dropped((3, 4, 2), [7, 8, 9]), dropped((4, 3, 2), [7, 8, 9])
    assert torch.equal(first, second.transpose(0, 1))
    assert torch.equal(dropped((12, 2), [7, 8, 9]), first.flatten(0, 1))
    assert torch.equal(dropped((4, 2, 2), [9, 7]), second[:, [2, 0]])
    mixed = dropped((5, 4), [7, 8, 9])
    assert torch.equal(mixed, dropped((5, 4), [7, 1, 2]))
    assert set(mixed.unique().tolist()) == {0.0, 2.0}
    assert dropped((), [7, 8, 9]).item() in (0.0, 2.0)


class BothWays(nn.Module):
    """Learns from the last states (2, N, 4) of a frozen layer: two directions come first."""

    def __init__(self, layers=1):
        super().__init__()
        self.read = nn.GRU(3, 4, layers, bidirectional=True, batch_first=True)
        self.norm, self.last = nn.LayerNorm(4), nn.Linear(8, 2)

    def forward(self, series):
        _, states = self.read(series)
        states = self.norm(states)
        return self.last(torch.cat([states[0], states[1]], 1))


class Beside(nn.Module):
    """Centres what a frozen layer makes over the batch."""

    def __init__(self):
        super().__init__()
        self.read, self.norm, self.last = nn.Linear(12, 4), nn.LayerNorm(4), nn.Linear(4, 2)

    def forward(self, series):
        found = self.read(series.flatten(1))
        return self.last(self.norm(found - found.mean(0)))


@pytest.mark.parametrize("network", [BothWays(), BothWays(3), Beside()])
def test_features_that_are_no_rows_are_not_kept(tmp_path, caplog, network):
    checkpoint = train(start(tmp_path, network, freeze="read")[0])
    assert "cannot be kept: the frozen part" in caplog.text
    assert "a row of features for each row" in caplog.text
    assert all(map(np.isfinite, losses(checkpoint)))


class Growing(nn.Module):
    """A frozen part whose features depend on the size of the batch."""

    def __init__(self):
        super().__init__()
        self.read, self.last = nn.Linear(12, 4), nn.Linear(4, 2)

    def forward(self, series):
        return self.last(self.read(series.flatten(1)))


@pytest.mark.parametrize("hosts", [1, 2])
def test_features_of_other_sizes_than_the_probes_end_the_keeping_and_not_the_run(
    tmp_path, monkeypatch, caplog, hosts
):
    whole = features.FeatureSource._features

    def unlike(self, inputs):
        found = whole(self, inputs)
        return found if self._read_variant is None and self._slots == {} else found[..., None]

    network = Growing()
    expected = train(start(tmp_path / "one", network, freeze="read", max_epochs=3)[0])
    monkeypatch.setattr(features.FeatureSource, "_features", unlike)
    run = start(tmp_path / "two", network, freeze="read", max_epochs=3)[0]
    LocalLauncher(num_threads=1).launch(apart if hosts > 1 else train_worker, run, hosts)
    assert losses(load_checkpoint(run)) == pytest.approx(losses(expected), rel=1e-5)
    if hosts == 1:
        assert "not always of the same size (torch.float32 (20, 4, 1) for 20 rows)" in caplog.text


def apart(world: World, run: str) -> str:
    """Ranks that believe they are alone on their hosts."""
    given = {name: getattr(world, name) for name in World.__dataclass_fields__}
    return train_worker(World(**{**given, "local_rank": 0, "host": f"h{world.rank}"}), run)


def test_a_store_says_what_it_takes():
    store = feature_store.open_feature_store(World(), 4, torch.zeros(3))
    assert store.takes(store.blank(2), 2)
    assert not store.takes(torch.zeros(2, 3), 3)
    assert not store.takes(torch.zeros(2, 4), 2)
    assert not store.takes(torch.zeros(2, 3).double(), 2)
