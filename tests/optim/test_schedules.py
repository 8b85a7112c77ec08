import json
import math
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.errors import InvalidValueError
from hilum.optim import (
    Constant,
    Cosine,
    LinearWarmup,
    Measurement,
    ReduceOnPlateau,
    Sequential,
    paper_schedule,
    schedule_from_json,
    schedule_to_json,
    simulate,
    warmup_then_plateau,
)

losses = st.lists(st.floats(0.0, 2.0, allow_nan=False), max_size=30)


def measured_each_step(values):
    """One measurement after every step, as a scheduler that is stepped once per epoch sees it."""
    return [Measurement(step + 1, value) for step, value in enumerate(values)]


def torch_optimizer(lr):
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)


@settings(deadline=None)
@given(
    values=losses,
    factor=st.floats(0.05, 0.95),
    patience=st.integers(0, 3),
    cooldown=st.integers(0, 3),
    min_delta=st.sampled_from([0.0, 1e-4, 0.1]),
    min_lr=st.sampled_from([0.0, 1e-3]),
)
def test_plateau_cuts_when_torch_does(values, factor, patience, cooldown, min_delta, min_lr):
    optimizer = torch_optimizer(0.1)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer,
        factor=factor,
        patience=patience,
        threshold=min_delta,
        cooldown=cooldown,
        min_lr=min_lr,
        eps=0.0,
    )
    expected = [0.1]
    for value in values:
        reference.step(value)
        expected.append(optimizer.param_groups[0]["lr"])
    ours = ReduceOnPlateau(
        base=0.1,
        factor=factor,
        patience=patience,
        min_delta=min_delta,
        cooldown=cooldown,
        min_lr=min_lr,
    )
    assert simulate(ours, len(values) + 1, measured_each_step(values)) == expected


def test_plateau_sees_that_a_negative_value_does_not_improve():
    schedule = ReduceOnPlateau(base=1.0, patience=1)
    assert schedule.lr(3, measured_each_step([-0.8, -0.8, -0.8])) == pytest.approx(0.1)


def test_a_loss_of_nan_counts_as_no_improvement():
    assert ReduceOnPlateau(base=1.0, patience=0).lr(1, [Measurement(1, math.nan)]) == 0.1


@given(values=losses, step=st.integers(0, 30))
def test_what_is_measured_later_does_not_change_an_earlier_rate(values, step):
    schedule = ReduceOnPlateau(base=1.0, patience=0)
    history = measured_each_step(values)
    assert schedule.lr(step, history) == schedule.lr(step, [m for m in history if m.step <= step])


@pytest.mark.parametrize("num_steps", [1, 7, 100])
def test_cosine_is_torchs_closed_form(num_steps):
    optimizer = torch_optimizer(0.3)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_steps, eta_min=0.01)
    expected = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # closed form by epoch number is deprecated, not wrong
        for step in range(num_steps + 1):
            reference.last_epoch = step
            expected += reference._get_closed_form_lr()
    rates = simulate(Cosine(base=0.3, end=0.01, steps=num_steps), num_steps + 1)
    assert rates == pytest.approx(expected, rel=1e-12)


def test_cosine_stays_at_its_end():
    assert Cosine(base=1.0, end=0.1, steps=10).lr(1000) == pytest.approx(0.1)


def test_warmup_rises_evenly_and_stays_at_its_peak():
    rates = simulate(LinearWarmup(start=0.2, peak=1.0, steps=4), 7)
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0, 1.0])


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 1000))
def test_warmup_reaches_its_peak_exactly(start, peak, steps):
    schedule = LinearWarmup(start=start, peak=peak, steps=steps)
    assert (schedule.lr(0), schedule.lr(steps)) == (start, peak)


def test_each_part_of_a_sequence_counts_its_own_steps():
    cosine = Cosine(base=1.0, steps=5)
    whole = Sequential(parts=((Constant(base=0.5), 3), (cosine, None)))
    assert simulate(whole, 10) == [0.5] * 3 + simulate(cosine, 7)


@given(values=losses)
def test_a_sequence_of_one_part_is_that_part(values):
    part = ReduceOnPlateau(base=1.0, patience=0)
    history = [Measurement(0, 1.0), *measured_each_step(values)]
    alone, wrapped = simulate(part, 32, history), Sequential(parts=((part, None),))
    assert simulate(wrapped, 32, history) == alone


def test_the_plateau_ignores_what_the_warmup_reached():
    schedule = warmup_then_plateau(1.0, 10, patience=1)
    # 0.1 during the warm-up would make every later value a bad one.
    history = [Measurement(5, 0.1), Measurement(10, 0.1), Measurement(15, 0.9)]
    assert schedule.lr(29, history) == 1.0
    bad = [Measurement(20, 0.9), Measurement(25, 0.9)]
    assert schedule.lr(25, [*history, *bad]) == pytest.approx(0.1)
    assert schedule.lr(24, [*history, *bad]) == 1.0


def test_without_warmup_steps_the_plateau_starts_at_once():
    assert warmup_then_plateau(0.5, 0) == ReduceOnPlateau(base=0.5)


def test_the_papers_schedule_warms_up_for_five_epochs_and_cuts_at_the_second_bad_one():
    schedule = paper_schedule(steps_per_epoch=77)
    assert schedule.lr(0) == 1e-7
    assert schedule.lr(385) == 1e-4
    assert schedule.lr(193) == pytest.approx((1e-7 + 1e-4) / 2, rel=0.01)
    values = [0.18, 0.17, 0.17, 0.17]  # epochs 6 to 9
    history = [Measurement((6 + epoch) * 77, value) for epoch, value in enumerate(values)]
    assert schedule.lr(8 * 77, history) == 1e-4
    assert schedule.lr(9 * 77, history) == pytest.approx(1e-5)


@pytest.mark.parametrize(
    "schedule",
    [
        Constant(base=0.1),
        LinearWarmup(peak=0.1, steps=10),
        Cosine(base=0.1, steps=10),
        ReduceOnPlateau(base=0.1, patience=3, cooldown=2),
        Sequential(
            parts=(
                (Sequential(parts=((Constant(base=1), 2), (Cosine(base=1, steps=3), None))), 9),
                (ReduceOnPlateau(base=0.1), None),
            )
        ),
        paper_schedule(100),
    ],
)
def test_a_schedule_survives_json(schedule):
    assert schedule_from_json(json.loads(json.dumps(schedule_to_json(schedule)))) == schedule


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"type": "Poly", "base": 1}, "one of Constant, LinearWarmup"),
        ({"type": "Constant", "base": 1, "gamma": 2}, "gamma"),
        ({"type": "Constant"}, "base"),
        ({"type": "Constant", "base": -1}, "base must be a finite number"),
        ({"type": "Constant", "base": "big"}, "Constant must have its own fields"),
        ({"type": "Sequential", "parts": [[0.1, 5]]}, "parts must be"),
        ({"type": "Sequential", "parts": [[{"type": "Constant", "base": 1}]]}, "parts must be"),
        ([], "an object with a type"),
    ],
)
def test_a_wrong_schedule_in_json_is_refused(data, message):
    with pytest.raises(InvalidValueError, match=message):
        schedule_from_json(data)


def test_a_schedule_of_ones_own_cannot_be_saved():
    class Doubling:
        def lr(self, step, measurements=()):
            return 2.0**step

    with pytest.raises(InvalidValueError, match="Constant, LinearWarmup"):
        schedule_to_json(Doubling())


@pytest.mark.parametrize(
    ("make", "parameter"),
    [
        (lambda: Constant(base=math.nan), "base"),
        (lambda: LinearWarmup(peak=1.0, steps=0), "steps"),
        (lambda: LinearWarmup(peak=1.0, steps=1.5), "steps"),
        (lambda: Cosine(base=1.0, steps=10, end=-1.0), "end"),
        (lambda: ReduceOnPlateau(base=1.0, factor=1.0), "factor"),
        (lambda: ReduceOnPlateau(base=1.0, patience=-1), "patience"),
        (lambda: ReduceOnPlateau(base=1.0, min_delta=1.0), "min_delta"),
        (lambda: Sequential(parts=()), "parts"),
        (lambda: Sequential(parts=((Constant(base=1.0), 5),)), "steps of the last part"),
        (
            lambda: Sequential(parts=((Constant(base=1.0), None), (Constant(base=1.0), None))),
            "steps of a part",
        ),
        (lambda: paper_schedule(0), "steps_per_epoch"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(make, parameter):
    with pytest.raises(InvalidValueError, match=f"^{parameter} must be"):
        make()
