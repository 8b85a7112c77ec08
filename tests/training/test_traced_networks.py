"""Modules that were given as they are train as their own code would, whatever their layers."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn

from hilum.inference import ModelBundle, load_bundle, save_bundle
from hilum.inputs import RowSpec, Target, TensorInput
from hilum.models.starting import build_start, start_of_instance
from hilum.optim import Constant, OptimizerSpec, TorchLoss
from hilum.preprocessing import Chain
from hilum.training import (
    LocalLauncher,
    TrainConfig,
    TrainJob,
    load_checkpoint,
    prepare_run,
    train_worker,
)
from hilum.training.dropout import FIRST_LAYER, SampleDropout, seed_dropout
from hilum.training.trial import try_network
from training_cases import write_records

ROWS = RowSpec(
    inputs=(TensorInput(column="series", shape=(4, 3)),),
    targets=(Target(column="value", shape=(2,)),),
)
MSE = TorchLoss(name="MSELoss")
SPLITS = (["train"] * 4 + ["valid"]) * 5


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
    write_records(folder / "cache", records[:, None, None], known, SPLITS)
    begun = start_of_instance(network)
    model, _ = build_start(begun.architecture, begun, 2)
    first = torch.from_numpy(records[:1]), torch.from_numpy(known[:1])
    settings = TrainConfig(
        **{
            "architecture": begun.architecture.name,
            "design": begun.architecture,
            "outputs": ("value",),
            "preprocessing": Chain(()),
            "rows": try_network(model, ROWS, MSE, *first),
            "schedule": Constant(base=0.05),
            "optimizer": OptimizerSpec(name="sgd"),
            "loss": MSE,
            "max_epochs": 2,
            "global_batch_size": 8,
            "precision": "float32",
            **changes,
        }
    )
    job = TrainJob(config=settings, cache_directory=str(folder / "cache"))
    prepare_run(str(folder / "run"), job, model)
    return str(folder / "run"), settings


def train(run, num_ranks=1):
    digests = LocalLauncher(num_threads=1).launch(train_worker, run, num_ranks)
    assert len(set(digests)) == 1, "all ranks end with the same weights"
    return load_checkpoint(run)


def losses(checkpoint):
    return [value for r in checkpoint.history for value in (r.train_loss, r.valid_loss)]


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
