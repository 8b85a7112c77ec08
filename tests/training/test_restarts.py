"""A run that dies at any step and is restarted ends as if nothing had happened."""

import os
import signal

import pytest
import torch

from hilum import storage
from hilum.errors import ChecksumError, TrainingError
from hilum.optim import Clipping
from hilum.training import Every, LocalLauncher, load_checkpoint, steps, train_worker
from hilum.training.checkpoint import write_checkpoint

ONE_THREAD = LocalLauncher(num_threads=1)

# 19 training images in batches of 5: 4 steps an epoch, validated and kept in the middle of epochs.
EVERYTHING = {
    "max_epochs": 2,
    "batch_norm": "batch",
    "ema_decay": 0.9,
    "clipping": Clipping(value=0.5, norm=0.5),
    "validate_every": Every(steps=3),
    "checkpoint_every": Every(steps=1),
}


class CrashError(Exception):
    pass


def crash_at(monkeypatch, last_step):
    """Let the network train this many steps and then fail, once."""
    whole, done = steps.train_step, []

    def train_step(*args):
        if len(done) == last_step:
            raise CrashError
        done.append(1)
        return whole(*args)

    monkeypatch.setattr(steps, "train_step", train_step)


def die_on_rank_one(world, argument):
    """A worker whose second rank is killed in the middle of the first epoch."""
    whole, done = steps.train_step, []

    def train_step(*args):
        if len(done) == 2 and world.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        done.append(1)
        return whole(*args)

    steps.train_step = train_step
    return train_worker(world, argument)


def outcome(run):
    """Everything but the times of a finished run."""
    last = load_checkpoint(run)
    records = [
        (r.epoch, r.step, r.train_loss, r.valid_loss, r.valid_auroc, r.lr) for r in last.history
    ]
    return records, dict(last.weights), dict(last.average)


def assert_bitwise_equal(run, other):
    records, weights, average = outcome(run)
    other_records, other_weights, other_average = outcome(other)
    assert records == other_records
    for one, two in ((weights, other_weights), (average, other_average)):
        assert one.keys() == two.keys()
        for name, value in one.items():
            assert torch.equal(value, two[name]), name


@pytest.mark.parametrize("checkpoint_every", [Every(steps=1), Every(steps=3), Every(epochs=1)])
def test_a_run_restarted_after_a_crash_at_any_step_is_bitwise_the_unbroken_one(
    make_run, monkeypatch, checkpoint_every
):
    settings = {**EVERYTHING, "checkpoint_every": checkpoint_every}
    unbroken = make_run("unbroken", **settings)
    ONE_THREAD.launch(train_worker, unbroken, 1)
    broken = make_run("broken", **settings)
    for done_steps in (0, 2, 3, 1):  # attempts of so many steps each, and one to the end
        with monkeypatch.context() as patch:
            crash_at(patch, done_steps)
            with pytest.raises(TrainingError, match="CrashError"):
                ONE_THREAD.launch(train_worker, broken, 1)
    ONE_THREAD.launch(train_worker, broken, 1)
    assert_bitwise_equal(broken, unbroken)


@pytest.mark.parametrize("num_ranks", [2, 3])
def test_killed_ranks_restarted_are_bitwise_the_unbroken_ones(make_run, num_ranks):
    unbroken, broken = make_run("unbroken", **EVERYTHING), make_run("broken", **EVERYTHING)
    ONE_THREAD.launch(train_worker, unbroken, num_ranks)
    with pytest.raises(Exception, match=r"(?i)terminated|died|closed|killed|lost|reset"):
        ONE_THREAD.launch(die_on_rank_one, broken, num_ranks)
    assert 0 < load_checkpoint(broken).step <= 2
    digests = ONE_THREAD.launch(train_worker, broken, num_ranks)
    assert len(set(digests)) == 1
    assert_bitwise_equal(broken, unbroken)


def test_a_run_goes_on_with_another_number_of_ranks(make_run, monkeypatch):
    settings = {**EVERYTHING, "batch_norm": "frozen"}
    unbroken, broken = make_run("unbroken", **settings), make_run("broken", **settings)
    ONE_THREAD.launch(train_worker, unbroken, 1)
    crash_at(monkeypatch, 3)
    with pytest.raises(TrainingError, match="CrashError"):
        ONE_THREAD.launch(train_worker, broken, 1)
    monkeypatch.undo()
    ONE_THREAD.launch(train_worker, broken, 2)
    records, weights, _ = outcome(broken)
    expected_records, expected_weights, _ = outcome(unbroken)
    for found, expected in zip(records, expected_records, strict=True):
        assert found[2:4] == pytest.approx(expected[2:4], rel=1e-5)
    for name, value in expected_weights.items():
        torch.testing.assert_close(weights[name], value, rtol=1e-3, atol=1e-5)


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(make_run, caplog):
    run = make_run(max_epochs=3)
    ONE_THREAD.launch(train_worker, run, 1)
    expected = load_checkpoint(run).weights
    cut(run, 12)
    assert load_checkpoint(run).step == 8
    assert "step-00000012.json" in caplog.text
    ONE_THREAD.launch(train_worker, run, 1)
    last = load_checkpoint(run)
    assert last.step == 12
    for name, value in last.weights.items():
        assert torch.equal(value, expected[name]), name


def test_when_no_checkpoint_is_whole_the_run_is_not_silently_begun_anew(make_run):
    run = make_run(max_epochs=1)
    ONE_THREAD.launch(train_worker, run, 1)
    cut(run, 4)
    with pytest.raises(ChecksumError, match="delete the checkpoints directory"):
        load_checkpoint(run)


def test_the_last_checkpoints_and_the_best_are_kept_and_nothing_else(make_run):
    run = make_run(max_epochs=5, keep_checkpoints=2)
    ONE_THREAD.launch(train_worker, run, 1)
    best, last = load_checkpoint(run, "best"), load_checkpoint(run)
    assert best.history.epochs[-1] == last.history.best()
    assert last.step == 20
    names = storage.list_names(f"{run}/checkpoints")
    manifests = [name for name in names if name.endswith(".json")]
    assert manifests == ["best.json", "step-00000016.json", "step-00000020.json"]
    assert len(names) - len(manifests) <= 3


def test_the_average_is_what_is_validated_and_kept(make_run):
    run = make_run(max_epochs=1, ema_decay=0.9)
    ONE_THREAD.launch(train_worker, run, 1)
    best = load_checkpoint(run, "best")
    assert best.kept_weights is best.average
    head = "fc.1.weight"
    assert not torch.equal(best.average[head], best.weights[head])


def test_storage_that_fails_for_a_moment_costs_nothing(make_run, monkeypatch):
    run, failures = make_run(max_epochs=2), []

    def once(*args, **kwargs):
        if not failures:
            failures.append(1)
            raise OSError(28, "No space left on device")
        return write_checkpoint(*args, **kwargs)

    monkeypatch.setattr("hilum.training.keeper.write_checkpoint", once)
    ONE_THREAD.launch(train_worker, run, 1)
    assert load_checkpoint(run).step == 8


def test_storage_that_fails_for_good_ends_the_run_and_names_it(make_run, monkeypatch):
    run = make_run(max_epochs=4)

    def never(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hilum.training.keeper.write_checkpoint", never)
    monkeypatch.setattr("hilum.training.keeper.RETRY_AFTER_S", (0.01,))
    with pytest.raises(TrainingError, match=r"checkpoints must be written to .*No space left"):
        ONE_THREAD.launch(train_worker, run, 1)


def cut(run, step):
    """Cut the tensors of one checkpoint short."""
    manifest = storage.read_json(f"{run}/checkpoints/step-{step:08d}.json")
    path = storage.local_path(f"{run}/checkpoints/{manifest['file']}")
    path.write_bytes(path.read_bytes()[:-7])
