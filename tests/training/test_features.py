"""Frozen parts, their kept features, and letting go of them in the course of a run."""

from collections import Counter

import pytest
import torch

from hilum import storage
from hilum.errors import InvalidValueError
from hilum.training import (
    Every,
    LocalLauncher,
    World,
    feature_store,
    features,
    load_checkpoint,
    loop,
    steps,
    train_worker,
)

ONE_THREAD = LocalLauncher(num_threads=1)
HEAD = {"freeze": "backbone", "max_epochs": 5, "feature_variants": 2}
BLOCKS = {"freeze": "layer2", "max_epochs": 5, "feature_variants": 2, "batch_norm": "batch"}


@pytest.fixture(autouse=True)
def local_directory(tmp_path, monkeypatch):
    directory = tmp_path / "local"
    directory.mkdir()
    monkeypatch.setenv("HILUM_LOCAL_DIR", str(directory))
    return directory


def train(run, num_ranks=1):
    digests = ONE_THREAD.launch(train_worker, run, num_ranks)
    assert len(set(digests)) == 1, "all ranks end with the same weights"
    return load_checkpoint(run)


def losses(checkpoint):
    return [value for r in checkpoint.history for value in (r.train_loss, r.valid_loss)]


def no_room(monkeypatch):
    monkeypatch.setattr(feature_store, "MAX_SHARE_OF_FREE_DISK", 0.0)


@pytest.mark.parametrize("frozen", [HEAD, BLOCKS, {**HEAD, "ema_decay": 0.5}])
def test_kept_features_give_the_losses_of_computing_everything(
    make_run, monkeypatch, caplog, local_directory, frozen
):
    with_features = train(make_run("with", **frozen))
    assert "cannot be kept" not in caplog.text
    no_room(monkeypatch)
    without = train(make_run("without", **frozen))
    assert caplog.text.count("cannot be kept") == 1, "said once, by rank 0"
    assert losses(with_features) == pytest.approx(losses(without), rel=1e-6)
    for name, value in with_features.weights.items():
        torch.testing.assert_close(value, without.weights[name], rtol=1e-4, atol=1e-6)
    assert list(local_directory.iterdir()) == []


def test_the_frozen_part_runs_once_per_variant_and_image(make_run, monkeypatch):
    seen = Counter()
    whole = features.FeatureSource._features

    def count(self, inputs):
        seen["images"] += len(inputs)
        return whole(self, inputs)

    monkeypatch.setattr(features.FeatureSource, "_features", count)
    train(make_run(**HEAD))
    assert seen["images"] == 2 * 19 + 4, "19 training images in two variants, 4 for validation"


def test_a_variant_that_does_not_come_again_is_not_kept(make_run, monkeypatch):
    opened = []
    whole = features.open_feature_store

    def note(world, num_rows, row):
        opened.append(num_rows)
        return whole(world, num_rows, row)

    monkeypatch.setattr(features, "open_feature_store", note)
    train(make_run("a", **{**HEAD, "max_epochs": 3}))
    assert opened == [19 + 4], "of epochs 0, 1, 0 only the first variant comes twice"


def test_two_ranks_share_the_features_and_train_what_one_does(make_run, local_directory):
    one, two = train(make_run("one", **HEAD)), train(make_run("two", **HEAD), 2)
    assert losses(one) == pytest.approx(losses(two), rel=1e-5)
    assert list(local_directory.iterdir()) == []


def as_two_hosts(world: World, run: str) -> str:
    """Ranks that believe they are alone on their hosts."""
    return train_worker(World(**{**_fields(world), "local_rank": 0, "host": f"h{world.rank}"}), run)


def _fields(world):
    return {name: getattr(world, name) for name in World.__dataclass_fields__}


def test_hosts_exchange_their_features(make_run):
    run = make_run("two", **HEAD)
    assert len(set(ONE_THREAD.launch(as_two_hosts, run, 2))) == 1
    one = train(make_run("one", **HEAD))
    assert losses(load_checkpoint(run)) == pytest.approx(losses(one), rel=1e-5)


UNFREEZE = {
    "freeze": "backbone",
    "unfreeze": ((1, "layer2"), (3, "")),
    "feature_variants": 1,
    "max_epochs": 4,
    "checkpoint_every": Every(steps=1),
}


def test_layers_begin_to_learn_in_the_epoch_that_says_so(make_run):
    ends = {}
    for max_epochs in (1, 2, 4):
        run = make_run(f"until-{max_epochs}", **{**UNFREEZE, "max_epochs": max_epochs})
        before = storage.read_bytes(f"{run}/initial.safetensors")
        weights = train(run).weights
        start = features_of(before)
        ends[max_epochs] = {
            name.split(".")[0] for name in weights if not torch.equal(weights[name], start[name])
        }
    assert ends[1] == {"fc"}
    assert ends[2] == {"fc", "layer3", "layer4"}
    assert {"conv1", "layer1", "layer2"} <= ends[4]


def features_of(data):
    from safetensors.torch import load

    return load(data)


@pytest.mark.parametrize("last_step", [3, 4, 5, 11, 12, 13])
def test_a_run_broken_around_an_unfreezing_is_bitwise_the_unbroken_one(
    make_run, monkeypatch, last_step
):
    unbroken = train(make_run("unbroken", **UNFREEZE))
    run, whole, done = make_run("broken", **UNFREEZE), steps.train_step, []

    def train_step(*args):
        if len(done) == last_step:
            raise KeyboardInterrupt
        done.append(1)
        return whole(*args)

    with monkeypatch.context() as patched:
        patched.setattr(steps, "train_step", train_step)
        with pytest.raises(KeyboardInterrupt):
            train_worker(World(), run)
    resumed = train(run)
    assert losses(resumed) == losses(unbroken)
    for part in ("weights", "optimizer"):
        mine, other = getattr(resumed, part), getattr(unbroken, part)
        assert mine.keys() == other.keys()
        assert all(torch.equal(mine[name], other[name]) for name in mine), part


def test_moments_of_what_was_trained_before_are_kept(make_run, monkeypatch):
    run = make_run(**{**UNFREEZE, "max_epochs": 2})
    counts = {}
    whole = loop.enter_epoch

    def enter_epoch(rank, epoch):
        rank = whole(rank, epoch)
        names = {p: name for name, p in rank.model.named_parameters()}
        counts[epoch] = {names[p]: int(s["step"]) for p, s in rank.optimizer.state.items()}
        return rank

    monkeypatch.setattr(steps, "enter_epoch", enter_epoch)
    train(run)
    assert counts[1] == {"fc.1.weight": 4, "fc.1.bias": 4}


def test_three_ranks_unfreeze_alike(make_run):
    one, three = train(make_run("one", **UNFREEZE)), train(make_run("three", **UNFREEZE), 3)
    assert losses(one) == pytest.approx(losses(three), rel=1e-5)


def test_a_layer_the_network_does_not_have_is_refused_before_any_rank_starts(make_run):
    with pytest.raises(InvalidValueError, match=r"freeze must be .*layer1.*Got 'layer9'"):
        make_run(freeze="backbone", unfreeze=((1, "layer9"),))


def test_the_features_file_loses_its_name_before_training(local_directory):
    row = torch.zeros(3, dtype=torch.bfloat16)
    store = feature_store.open_feature_store(World(), 4, row)
    assert list(local_directory.iterdir()) == []
    written = torch.randn(2, 3).bfloat16()
    store.write(torch.tensor([3, 1]).numpy(), written)
    assert torch.equal(store.read(torch.tensor([1, 3]).numpy()), written.flip(0))


def test_image_like_features_come_back_bit_by_bit_in_channels_last_order():
    rows = torch.randn(5, 4, 3, 2)
    store = feature_store.open_feature_store(World(), 5, rows[0])
    store.write(torch.arange(5).numpy(), rows)
    read = store.read(torch.arange(5).numpy())
    assert torch.equal(read, rows)
    assert read.is_contiguous(memory_format=torch.channels_last)


def test_a_disk_without_room_is_named(local_directory):
    with pytest.raises(feature_store.NoRoomError, match=str(local_directory)):
        feature_store.open_feature_store(World(), 2**50, torch.zeros(1))
    assert list(local_directory.iterdir()) == []
