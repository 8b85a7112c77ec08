"""When things happen in a run, and when it ends."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.errors import InvalidValueError
from hilum.training import (
    EpochRecord,
    Every,
    History,
    LocalLauncher,
    Position,
    Stopping,
    load_checkpoint,
    train_worker,
)

ONE_THREAD = LocalLauncher(num_threads=1)


def history(*losses, aurocs=None):
    aurocs = aurocs or [None] * len(losses)
    return History(
        tuple(
            EpochRecord(
                epoch=i,
                step=10 * (i + 1),
                train_loss=1.0,
                valid_loss=loss,
                valid_mean_auroc=auroc,
                lr=1e-3,
                images_per_s=1.0,
                seconds=60.0,
            )
            for i, (loss, auroc) in enumerate(zip(losses, aurocs, strict=True))
        )
    )


def at(step, seconds=0.0):
    return Position(step, 10, seconds)


@given(st.integers(1, 7), st.integers(1, 9), st.integers(1, 60))
def test_a_trigger_fires_once_per_interval(steps_per_epoch, interval, num_steps):
    places = [Position(s, steps_per_epoch, 60.0 * s) for s in range(num_steps + 1)]
    pairs = list(pairwise(places))
    fired = {
        name: sum(Every(**{name: interval}).due(before, now) for before, now in pairs)
        for name in ("epochs", "steps", "minutes")
    }
    assert fired["steps"] == fired["minutes"] == num_steps // interval
    assert fired["epochs"] == num_steps // steps_per_epoch // interval


def test_a_trigger_is_exactly_one_interval():
    for fields in ({}, {"epochs": 1, "steps": 2}, {"steps": 0}):
        with pytest.raises(InvalidValueError):
            Every(**fields)
    assert Every.from_json(Every(minutes=1.5).to_json()) == Every(minutes=1.5)


@pytest.mark.parametrize(
    ("rules", "position", "past", "metric", "words"),
    [
        ({}, at(50), history(), "valid_loss", "max_epochs=5"),
        ({"max_steps": 7}, at(7), history(), "valid_loss", "max_steps=7"),
        ({"max_minutes": 2}, at(7, 120.0), history(), "valid_loss", "max_minutes=2"),
        ({"target": 0.5}, at(9), history(0.6, 0.5), "valid_loss", "target valid_loss=0.5"),
        (
            {"target": 0.8},
            at(9),
            history(1, aurocs=[0.81]),
            "valid_mean_auroc",
            "target valid_mean_auroc=0.8",
        ),
        ({"patience": 2}, at(9), history(0.6, 0.7, 0.6), "valid_loss", "no better for 2"),
        (
            {"patience": 1, "min_delta": 0.1},
            at(9),
            history(0.6, 0.55),
            "valid_loss",
            "no better for 1",
        ),
    ],
)
def test_a_run_ends_by_its_rule_and_says_why(rules, position, past, metric, words):
    assert words in Stopping(**rules).reason(position, past, 5, metric)


def test_a_run_goes_on_until_a_rule_says_otherwise():
    rules = Stopping(max_steps=30, max_minutes=9, target=0.1, patience=2)
    past = history(0.6, 0.7, 0.5, 0.6)
    assert rules.reason(at(29, 100.0), past, 5, "valid_loss") is None


def test_training_ends_after_the_steps_asked_for_validated_and_kept(make_run):
    run = make_run(max_epochs=9, stopping=Stopping(max_steps=6))
    ONE_THREAD.launch(train_worker, run, 1)
    last = load_checkpoint(run)
    assert [record.step for record in last.history] == [4, 6]
    assert (last.step, last.history.stopped) == (6, "max_steps=6 reached")


def test_training_ends_when_time_is_up_on_all_ranks(make_run):
    run = make_run(max_epochs=500, stopping=Stopping(max_minutes=0.02))
    ONE_THREAD.launch(train_worker, run, 2)
    last = load_checkpoint(run)
    assert last.history.stopped == "max_minutes=0.02 reached"
    assert last.step < 500 * 4
    assert last.history.epochs[-1].step == last.step


def test_validation_in_the_middle_of_epochs_covers_the_steps_since_the_last(make_run):
    run = make_run(max_epochs=2, validate_every=Every(steps=3), checkpoint_every=Every(steps=5))
    ONE_THREAD.launch(train_worker, run, 1)
    records = load_checkpoint(run).history.epochs
    assert [(record.epoch, record.step) for record in records] == [(0, 3), (1, 6), (1, 8)]
    assert all(0 <= value <= 1 for record in records for value in record.valid_auroc if value)
