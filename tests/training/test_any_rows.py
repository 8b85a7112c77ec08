"""Networks on any columns train as those on images do: same ranks, same restarts, same means."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss
from torch.nn import functional

import row_nets
from hilum.inputs import ImageInput, RowSpec, Target, TensorInput
from hilum.models import architecture, factory
from hilum.models.starting import build_start, whole_design
from hilum.optim import CrossEntropy
from hilum.training import (
    Every,
    World,
    feature_store,
    features,
    load_checkpoint,
    steps,
    train_worker,
)
from row_runs import SPLITS, losses, start_on_rows, train
from training_cases import chain

VECTOR = TensorInput(column="vector", shape=(3,))
NUMBER = TensorInput(column="number", shape=(1,))
TWO = RowSpec(
    inputs=(VECTOR, NUMBER),
    targets=(Target(column="one", shape=()), Target(column="pair", shape=(2,))),
)
ALONE = RowSpec(inputs=(VECTOR,), targets=(Target(column="vector", shape=(3,), input=0),))
KIND = Target(column="kind", shape=(), classes=("no", "yes"))
IMAGES = RowSpec(inputs=(ImageInput.of("image", chain()),), targets=(KIND,))


@pytest.fixture(autouse=True)
def local_directory(tmp_path, monkeypatch):
    (tmp_path / "local").mkdir()
    monkeypatch.setenv("HILUM_LOCAL_DIR", str(tmp_path / "local"))


def values():
    generator = np.random.default_rng(0)
    return generator.normal(size=(25, 3)), generator.normal(size=25)


def labels():
    found = np.random.default_rng(1).normal(size=(25, 3)).astype(np.float32)
    found[3, 0] = found[7, 2] = np.nan
    return found


def pack(spec):
    """Records of 25 rows."""
    if spec == IMAGES:
        return np.random.default_rng(2).integers(0, 256, (25, spec.record_bytes), dtype=np.uint8)
    vector, number = values()
    columns = [pa.array(vector.tolist()), pa.array(number)]
    records, reasons = spec.pack(columns[: len(spec.inputs)])
    assert not any(reasons)
    return records


def start(folder, network, spec, known, *, weights=None, **changes):
    """A run on 25 rows, ready to be trained, and its network."""
    named = isinstance(network, str)
    design = architecture(network) if named else whole_design(factory(network))
    model, _ = build_start(design, None, 2, weights="random" if named else "auto", seed=1)
    built = {"architecture": design.name, "design": None if named else design}
    run, _ = start_on_rows(
        folder, model, spec, pack(spec), known, weights=weights, **built, **changes
    )
    return run, model


CASES = {
    "several inputs and outputs": (row_nets.two_arguments, TWO, labels()),
    "no labels": (row_nets.narrow, ALONE, np.zeros((25, 0), np.float32)),
}


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_two_ranks_train_what_one_does(tmp_path, case):
    weights = np.linspace(0.0, 2.0, 25).tolist()
    one = train(start(tmp_path / "one", *case, weights=weights)[0])
    two = train(start(tmp_path / "two", *case, weights=weights)[0], 2)
    assert losses(one) == pytest.approx(losses(two), rel=1e-5)
    for name, value in two.weights.items():
        torch.testing.assert_close(value, one.weights[name], rtol=1e-4, atol=1e-6)


def test_a_step_is_that_of_pytorch_on_the_sum_of_the_outputs_mean_losses(tmp_path):
    """One batch of all 20 training rows: the gradient of two means, without unknown labels."""
    one_step = {"global_batch_size": 20, "max_epochs": 1}
    run, model = start(tmp_path, *CASES["several inputs and outputs"], **one_step)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    rows = [at for at, split in enumerate(SPLITS) if split == "train"]
    vector, number = (torch.from_numpy(v).float()[rows] for v in values())
    known = torch.from_numpy(labels())[rows]
    first, second = model(vector, number[:, None])
    mask = [~known[:, :1].isnan(), ~known[:, 1:].isnan()]
    loss = functional.mse_loss(first[mask[0]], known[:, :1][mask[0]])
    loss = loss + functional.mse_loss(second[mask[1]], known[:, 1:][mask[1]])
    loss.backward()
    checkpoint = train(run)
    assert checkpoint.history.epochs[0].train_loss == pytest.approx(loss.item(), rel=1e-5)
    for name, parameter in model.named_parameters():
        expected = before[name] - 0.05 * parameter.grad
        torch.testing.assert_close(checkpoint.weights[name], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_a_run_that_was_broken_off_ends_bitwise_as_the_unbroken_one(tmp_path, monkeypatch, case):
    every_step = {"checkpoint_every": Every(steps=1)}
    unbroken = train(start(tmp_path / "unbroken", *case, **every_step)[0])
    run, whole, done = start(tmp_path / "broken", *case, **every_step)[0], steps.train_step, []

    def train_step(*args):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(1)
        return whole(*args)

    with monkeypatch.context() as patched:
        patched.setattr(steps, "train_step", train_step)
        with pytest.raises(KeyboardInterrupt):
            train_worker(World(), run)
    resumed = train(run)
    assert losses(resumed) == losses(unbroken)
    assert all(torch.equal(resumed.weights[n], v) for n, v in unbroken.weights.items())


ONE_ARGUMENT = (row_nets.looking, replace(TWO, inputs=(VECTOR,)), labels())
KEPT = {
    "of rows, of which nothing is random": (
        ONE_ARGUMENT,
        {"freeze": "body", "max_epochs": 3},
        20 + 5,
    ),
    "of images in two variants": (
        ("timm:test_resnet", IMAGES, (np.arange(25) % 2)[:, None].astype(np.float32)),
        {
            "freeze": "backbone",
            "max_epochs": 5,
            "feature_variants": 2,
            "batch_norm": "frozen",
            "loss": CrossEntropy(),
            "outputs": KIND.classes,
        },
        2 * 20 + 5,
    ),
}


@pytest.mark.parametrize(("case", "frozen", "count"), KEPT.values(), ids=list(KEPT))
def test_kept_features_give_the_losses_of_computing_everything(
    tmp_path, monkeypatch, caplog, case, frozen, count
):
    seen, whole = [], features.FeatureSource._features

    def counted(self, inputs):
        seen.append(len(inputs[0]))
        return whole(self, inputs)

    with monkeypatch.context() as patched:
        patched.setattr(features.FeatureSource, "_features", counted)
        kept = train(start(tmp_path / "kept", *case, **frozen)[0])
    assert sum(seen) == count, "each row once"
    assert "cannot be kept" not in caplog.text
    two = train(start(tmp_path / "two", *case, **frozen)[0], 2)
    assert losses(two) == pytest.approx(losses(kept), rel=1e-5)
    monkeypatch.setattr(feature_store, "MAX_SHARE_OF_FREE_DISK", 0.0)
    computed = train(start(tmp_path / "computed", *case, **frozen)[0])
    assert losses(kept) == pytest.approx(losses(computed), rel=1e-6)


@pytest.mark.parametrize(
    ("case", "frozen", "why"),
    [
        (
            CASES["several inputs and outputs"],
            {"freeze": "body"},
            "of one argument. Got 'vector, number'",
        ),
        (CASES["no labels"], {"freeze": "0"}, "other columns than the input. Got 'vector'"),
        (ONE_ARGUMENT, {"frozen": ("first.weight",)}, "frozen up to one point"),
    ],
)
def test_why_features_are_not_kept_is_said(tmp_path, caplog, case, frozen, why):
    train(start(tmp_path, *case, **frozen)[0])
    assert "cannot be kept: the" in caplog.text
    assert why in caplog.text


def test_history_has_no_auc_where_there_is_none(tmp_path):
    (epoch, _) = train(start(tmp_path, *CASES["no labels"])[0]).history
    assert epoch.valid_loss > 0
    assert (epoch.valid_mean_auroc, epoch.valid_auroc) == (None, ())


def test_accuracy_and_log_loss_of_classes_are_those_of_scikit_learn(tmp_path):
    """Two classes by one logit; rows weigh differently, and one label is unknown."""
    classes = RowSpec(inputs=(VECTOR,), targets=(KIND,))
    vector, _ = values()
    known = (vector[:, :1] > 0).astype(np.float32)
    known[9, 0] = np.nan
    weights = np.linspace(0.0, 2.0, 25)
    run, _ = start(
        tmp_path, row_nets.line, classes, known, weights=weights.tolist(), loss=CrossEntropy()
    )
    train_worker(World(), run)
    checkpoint = load_checkpoint(run)
    logits = vector @ checkpoint.weights["weight"][0].numpy() + checkpoint.weights["bias"].item()
    valid = np.array([split == "valid" for split in SPLITS]) & ~np.isnan(known[:, 0])
    truth = known[valid, 0]
    given = {"sample_weight": weights[valid]}
    record = checkpoint.history.epochs[-1]
    assert record.valid_accuracy == pytest.approx(accuracy_score(truth, logits[valid] > 0, **given))
    probabilities = 1 / (1 + np.exp(-logits[valid]))
    assert record.valid_log_loss == pytest.approx(log_loss(truth, probabilities, **given), rel=1e-5)
    assert record.valid_loss == pytest.approx(record.valid_log_loss, rel=1e-5)
    assert "valid_accuracy" in checkpoint.history.to_csv().splitlines()[0]
