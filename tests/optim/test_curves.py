"""Curves against PyTorch's schedulers, step for step."""

import json
import math

import pytest
import torch
from torch.optim import lr_scheduler

from hilum.errors import InvalidValueError
from hilum.optim import (
    Exponential,
    MultiStep,
    OneCycle,
    Polynomial,
    StepDecay,
    schedule_from_json,
    schedule_to_json,
    simulate,
)

STEPS = 60


def torch_rates(make, base=0.3, num_steps=STEPS):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=base)
    scheduler = make(optimizer)
    rates = []
    for _ in range(num_steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


CASES = {
    "step": (
        StepDecay(base=0.3, factor=0.5, steps=7),
        lambda o: lr_scheduler.StepLR(o, 7, gamma=0.5),
    ),
    "multistep": (
        MultiStep(base=0.3, factor=0.1, milestones=(5, 20, 21)),
        lambda o: lr_scheduler.MultiStepLR(o, [5, 20, 21], gamma=0.1),
    ),
    "polynomial": (
        Polynomial(base=0.3, steps=40, power=0.9),
        lambda o: lr_scheduler.PolynomialLR(o, 40, power=0.9),
    ),
    "exponential": (
        Exponential(base=0.3, factor=0.5, steps=10),
        lambda o: lr_scheduler.ExponentialLR(o, 0.5 ** (1 / 10)),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_rates_are_torchs(name):
    ours, theirs = CASES[name]
    assert simulate(ours, STEPS) == pytest.approx(torch_rates(theirs), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("steps", "rise"), [(60, 0.3), (10, 0.5), (61, 0.25)])
def test_one_cycle_is_torchs(steps, rise):
    theirs = torch_rates(
        lambda o: lr_scheduler.OneCycleLR(
            o, max_lr=0.3, total_steps=steps, pct_start=rise, cycle_momentum=False
        ),
        num_steps=steps - 1,
    )
    ours = simulate(OneCycle(peak=0.3, steps=steps, rise=rise), steps - 1)
    assert ours == pytest.approx(theirs, rel=1e-9)


def test_one_cycle_ends_far_below_its_start_and_stays():
    cycle = OneCycle(peak=1.0, steps=100)
    assert cycle.lr(0) == pytest.approx(1 / 25)
    assert max(simulate(cycle, 100)) == pytest.approx(1.0, abs=1e-3)
    assert cycle.lr(99) == cycle.lr(10_000) == pytest.approx(1 / 25 / 1e4)


def test_a_polynomial_stays_at_its_end():
    assert Polynomial(base=1.0, steps=10, end=0.1).lr(1000) == pytest.approx(0.1)


@pytest.mark.parametrize(
    "curve", [*(ours for ours, _ in CASES.values()), OneCycle(peak=1, steps=9)]
)
def test_a_curve_survives_json(curve):
    assert schedule_from_json(json.loads(json.dumps(schedule_to_json(curve)))) == curve


@pytest.mark.parametrize(
    ("make", "parameter"),
    [
        (lambda: StepDecay(base=1.0, factor=1.0, steps=1), "factor"),
        (lambda: StepDecay(base=1.0, factor=0.5, steps=0), "steps"),
        (lambda: MultiStep(base=1.0, factor=0.5, milestones=(3, 3)), "milestones"),
        (lambda: MultiStep(base=1.0, factor=0.5, milestones=(0,)), "milestones"),
        (lambda: Polynomial(base=1.0, steps=5, power=0), "power"),
        (lambda: Exponential(base=math.inf, factor=0.5, steps=5), "base"),
        (lambda: OneCycle(peak=1.0, steps=1), "steps"),
        (lambda: OneCycle(peak=1.0, steps=10, rise=1.0), "rise"),
        (lambda: OneCycle(peak=1.0, steps=10, start_divisor=0), "start_divisor"),
    ],
)
def test_a_curve_that_makes_no_sense_is_refused(make, parameter):
    with pytest.raises(InvalidValueError, match=f"^{parameter} must be"):
        make()
