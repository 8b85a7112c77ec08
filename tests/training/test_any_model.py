"""Networks from files and functions train as those by name do."""

import json
from collections import Counter

import pytest
import torch

from any_models import loaded, small_net
from hilum import storage
from hilum.errors import InvalidValueError
from hilum.models import GreyStem, factory
from hilum.models.starting import build_start, design_of_factory, start_of
from hilum.preprocessing import Chain, ChannelNormalize, RandomCrop, Resize
from hilum.training import (
    Every,
    LocalLauncher,
    TrainJob,
    World,
    features,
    load_checkpoint,
    loop,
    prepare_run,
    steps,
    train_worker,
)
from hilum.training.event_files import flat_settings
from training_cases import SIZE, config

ONE_THREAD = LocalLauncher(num_threads=1)
EVERY_STEP = {"checkpoint_every": Every(steps=1)}


@pytest.fixture(autouse=True)
def local_directory(tmp_path, monkeypatch):
    (tmp_path / "local").mkdir()
    monkeypatch.setenv("HILUM_LOCAL_DIR", str(tmp_path / "local"))


@pytest.fixture
def start_run(tmp_path, cache_directory):
    """Start a run of a model from a file."""
    start = start_of(loaded())
    design = start.architecture

    def make(name, **changes):
        settings = config(architecture=design.name, design=design, **changes)
        model, _ = build_start(design, start, 2, dropout=0.3, seed=1)
        run = str(tmp_path / name)
        prepare_run(run, TrainJob(config=settings, cache_directory=cache_directory), model)
        return run

    return make


def train(run, num_ranks=1):
    digests = ONE_THREAD.launch(train_worker, run, num_ranks)
    assert len(set(digests)) == 1, "all ranks end with the same weights"
    return load_checkpoint(run)


def losses(checkpoint):
    return [value for r in checkpoint.history for value in (r.train_loss, r.valid_loss)]


def test_two_ranks_train_what_one_does(start_run):
    one, two = train(start_run("one")), train(start_run("two"), 2)
    assert losses(one) == pytest.approx(losses(two), rel=1e-5)
    for name, value in two.weights.items():
        torch.testing.assert_close(value, one.weights[name], rtol=1e-3, atol=1e-5)


def test_it_learns(start_run):
    history = train(start_run("run", max_epochs=8, dropout=0.0, batch_norm="batch")).history
    assert history.epochs[-1].train_loss < 0.9 * history.epochs[0].train_loss


@pytest.mark.parametrize("last_step", [2, 5])
def test_a_run_that_was_broken_off_ends_bitwise_as_the_unbroken_one(
    start_run, monkeypatch, last_step
):
    unbroken = train(start_run("unbroken", **EVERY_STEP))
    run, whole, done = start_run("broken", **EVERY_STEP), steps.train_step, []

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


def test_features_are_kept_at_a_node_of_the_graph(start_run, monkeypatch):
    frozen = {"freeze": "mixed/relu", "max_epochs": 3, "feature_variants": 1}
    seen, whole = Counter(), features.FeatureSource._features

    def count(self, inputs):
        seen["images"] += len(inputs)
        found = whole(self, inputs)
        seen["channels"] = found.shape[1]
        return found

    with monkeypatch.context() as patched:
        patched.setattr(features.FeatureSource, "_features", count)
        kept = train(start_run("kept", **frozen))
    assert seen == {"images": 19 + 4, "channels": 12}, "once, behind the two branches"
    monkeypatch.setattr("hilum.training.feature_store.MAX_SHARE_OF_FREE_DISK", 0.0)
    computed = train(start_run("computed", **frozen))
    assert losses(kept) == pytest.approx(losses(computed), rel=1e-6)
    before = start_of(loaded()).tensors
    moved = {n for n, t in kept.weights.items() if n not in before or not t.equal(before[n])}
    assert moved == {"conv2.weight", "conv2.bias", "fc.1.weight", "fc.1.bias"}


def test_parameters_that_the_model_brought_frozen_stay_frozen(start_run):
    names = ("conv1.weight", "conv1.bias", "bn1.weight", "bn1.bias")
    frozen = {"frozen": names, "feature_variants": 1, "max_epochs": 3}
    checkpoint = train(start_run("frozen", **frozen))
    before = start_of(loaded()).tensors
    same = {name for name, tensor in before.items() if tensor.equal(checkpoint.weights[name])}
    assert same == {*names, "bn1.running_mean", "bn1.running_var", "bn1.num_batches_tracked"}
    two = train(start_run("two", **frozen), 2)
    assert losses(two) == pytest.approx(losses(checkpoint), rel=1e-5)


@pytest.mark.parametrize("name", ["conv9.weight", "fc.1.weight"])
def test_frozen_parameters_that_cannot_be_are_said(start_run, name):
    with pytest.raises(InvalidValueError, match=rf"frozen must be .* Got '{name}'"):
        start_run("run", frozen=(name,))


def test_grey_images_go_in_as_one_channel(start_run, monkeypatch):
    ranks, whole = [], loop.prepare_rank
    monkeypatch.setattr(
        "hilum.training.worker.prepare_rank",
        lambda *args, **kwargs: ranks.append(whole(*args, **kwargs)) or ranks[-1],
    )
    grey = train(start_run("grey", max_epochs=1))
    assert isinstance(ranks[0].model.get_submodule("conv1"), GreyStem)
    with monkeypatch.context() as patched:
        patched.setattr(loop, "use_grey_stem", lambda *_: False)
        colour = train(start_run("colour", max_epochs=1))
    assert losses(grey) == pytest.approx(losses(colour), rel=1e-4)


def test_a_moving_average_of_a_graph_is_kept(start_run):
    checkpoint = train(start_run("ema", ema_decay=0.5))
    assert set(checkpoint.average) == set(checkpoint.weights)


def test_a_function_of_the_users_is_called_on_every_rank(tmp_path, cache_directory):
    design = design_of_factory(factory(small_net, width=4))
    steps_of_grey = (
        Resize(SIZE, SIZE),
        RandomCrop(32, 32),
        ChannelNormalize(design.mean, design.std),
    )
    found = []
    for num_ranks in (1, 2):
        settings = config(
            architecture=design.name, design=design, preprocessing=Chain(steps_of_grey)
        )
        model, _ = build_start(design, None, 2, dropout=0.3, seed=1)
        run = str(tmp_path / f"run-{num_ranks}")
        prepare_run(run, TrainJob(config=settings, cache_directory=cache_directory), model)
        found.append(losses(train(run, num_ranks)))
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_the_run_directory_says_how_the_network_is_built(start_run):
    run = start_run("run")
    stored = json.loads(storage.read_bytes(f"{run}/job.json"))["config"]
    assert stored["architecture"] == "tiny.caffemodel"
    assert stored["network"]["recipe"]["kind"] == "graph"
    config_again = TrainJob.read(run).config
    assert config_again.design == start_of(loaded()).architecture
    assert config_again.to_json() == stored
    assert not any(name.startswith("network") for name in flat_settings(stored))


def test_run_directories_from_before_have_no_network(make_run):
    run = make_run()
    stored = json.loads(storage.read_bytes(f"{run}/job.json"))["config"]
    assert "network" not in stored
    assert TrainJob.read(run).config.blueprint == "timm:test_resnet"
