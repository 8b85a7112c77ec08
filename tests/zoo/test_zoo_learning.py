"""Optimizers, schedules, triggers and criteria of 2019 mean today what they meant."""

import math

import numpy as np
import pytest
import torch

from hilum import zoo
from hilum.errors import InvalidValueError
from hilum.optim import (
    Constant,
    CrossEntropy,
    FocalLoss,
    Measurement,
    OptimizerSpec,
    StepDecay,
    simulate,
)
from hilum.optim.optimizers import set_lr
from hilum.training import Every
from hilum.zoo.criteria import class_loss, loss_params, row_loss
from hilum.zoo.optim import params_of
from hilum.zoo.regularizers import weight_decay_of
from hilum.zoo.schedules import modern_schedule, watched_metric
from hilum.zoo.triggers import ending_params, every_of


def no_count() -> int:
    raise AssertionError("the data need not be counted")


def adam_of_the_notebook(epochs: int, count: int, batch: int) -> zoo.Adam:
    """As the training notebook builds it."""
    per_epoch = math.ceil(float(count) / batch)
    warmup = 5 * per_epoch
    schedule = zoo.SequentialSchedule(per_epoch)
    schedule.add(zoo.Warmup((0.0001 - 1e-7) / warmup), warmup)
    schedule.add(
        zoo.Plateau(
            "Loss", factor=0.1, patience=1, mode="min", epsilon=0.01, cooldown=0, min_lr=1e-15
        ),
        (epochs - 5) * per_epoch,
    )
    return zoo.Adam(lr=1e-7, schedule=schedule)


def rates_of_bigdl(losses: list[float], per_epoch: int, warmup_epochs: int) -> list[float]:
    """Warm-up and Plateau as BigDL computed them, step by step with its state; one per step.

    `losses` holds what was measured at the end of each epoch.
    """
    rate, delta = 1e-7, (0.0001 - 1e-7) / (warmup_epochs * per_epoch)
    best, wait, rates = math.inf, 0, []
    for step in range(len(losses) * per_epoch):
        epoch, within = divmod(step, per_epoch)
        if epoch < warmup_epochs:
            rates.append(1e-7 + delta * step)
            continue
        if epoch == warmup_epochs and within == 0:
            rate = 1e-7 + delta * step
        elif within == 0:  # the epoch has changed: look once at the loss
            current = losses[epoch - 1]
            if current < best - 0.01:
                best, wait = current, 0
            else:
                if wait >= 1:
                    rate, wait = max(rate * 0.1, 1e-15), 0
                wait += 1
        rates.append(rate)
    return rates


def test_the_notebooks_schedule_gives_bigdls_rates():
    losses = [0.30, 0.24, 0.21, 0.19, 0.182, 0.18, 0.179, 0.177, 0.176, 0.176, 0.15, 0.149, 0.16]
    params = params_of(adam_of_the_notebook(len(losses), 70, 10), no_count)
    measured = [Measurement(7 * (epoch + 1), loss) for epoch, loss in enumerate(losses)]
    ours = simulate(params["schedule"], 7 * len(losses), measured)
    assert np.allclose(ours, rates_of_bigdl(losses, 7, 5), rtol=1e-9)
    assert ours[-1] < 1e-6, "the loss has stopped falling by 0.01"
    assert params["optimizer"] == "adam"
    assert params["watchedMetric"] == "train_loss"
    assert params["warmupEpochs"] == 0


def test_what_follows_in_a_sequence_starts_from_the_rate_reached():
    sequence = zoo.SequentialSchedule(10)
    sequence.add(zoo.Warmup(0.1), 5).add(zoo.Poly(2.0, 10), 10).add(zoo.Step(2, 0.5), 99)
    rates = simulate(modern_schedule(sequence, 0.5, no_count), 20)
    assert rates[:5] == pytest.approx([0.5, 0.6, 0.7, 0.8, 0.9])
    assert rates[5:15] == pytest.approx([(1 - n / 10) ** 2 for n in range(10)])
    assert rates[15:] == [0.0] * 5


@pytest.mark.parametrize(
    ("schedule", "formula"),
    [
        (None, lambda n: 1.0),
        (zoo.Default(), lambda n: 1.0),
        (zoo.Poly(0.5, 40), lambda n: (1 - n / 40) ** 0.5),
        (zoo.Step(3, 0.5), lambda n: 0.5 ** (n // 3)),
        (zoo.MultiStep2019([4, 9], 0.1), lambda n: 0.1 ** ((n >= 4) + (n >= 9))),
        (zoo.EpochStep(2, 0.5), lambda n: 0.5 ** (n // 10)),
        (zoo.NaturalExp(4, 0.3), lambda n: math.exp(-0.3 * (n // 4))),
        (zoo.Exponential(4, 0.3), lambda n: 0.3 ** (n / 4)),
        (zoo.Exponential(4, 0.3, stair_case=True), lambda n: 0.3 ** (n // 4)),
    ],
)
def test_schedules_follow_their_formula(schedule, formula):
    rates = simulate(modern_schedule(schedule, 1.0, lambda: 5), 30)
    assert rates == pytest.approx([formula(n) for n in range(30)])


def test_a_plateau_may_watch_the_score():
    assert watched_metric(zoo.Plateau("score", mode="max")) == "valid_mean_auroc"
    nested = zoo.SequentialSchedule(3).add(zoo.Plateau("score", mode="max"), 5)
    assert watched_metric(nested) == "valid_mean_auroc"
    with pytest.raises(InvalidValueError, match="mode"):
        zoo.Plateau("score", mode="min")


def test_schedules_that_cannot_be_are_refused():
    for wrong, why in ((zoo.Warmup(1.0), "part of"), ("cosine", "hilum.optim")):
        with pytest.raises(InvalidValueError, match=why):
            modern_schedule(wrong, 1.0, no_count)
    assert modern_schedule(Constant(base=3.0), 1.0, no_count) == Constant(base=3.0)


def velocity_of_bigdl(gradients: list[float], momentum: float, dampening: float) -> float:
    """Torch7's and BigDL's SGD: the first velocity is the gradient as it is."""
    velocity = gradients[0]
    for gradient in gradients[1:]:
        velocity = momentum * velocity + (1 - dampening) * gradient
    return velocity


def test_sgd_damps_by_its_momentum_unless_told_otherwise():
    for method, dampening in (
        (zoo.SGD(0.1, momentum=0.9), 0.9),
        (zoo.SGD(0.1, momentum=0.9, dampening=0.0), 0.0),
    ):
        params = params_of(method, no_count)
        spec = OptimizerSpec(name="sgd", momentum=params["momentum"], dampening=params["dampening"])
        weight = torch.nn.Parameter(torch.zeros(1, 1))
        optimizer = spec.build([("w", weight)])
        set_lr(optimizer, params["learningRate"])
        before = 0.0
        for gradient in (1.0, 2.0, -0.5):
            before = float(weight.detach())
            weight.grad = torch.full((1, 1), gradient)
            optimizer.step()
        last = (before - float(weight.detach())) / 0.1
        assert last == pytest.approx(velocity_of_bigdl([1.0, 2.0, -0.5], 0.9, dampening), 1e-5)


def test_the_notebooks_sgd_and_what_the_others_become():
    nesterov = zoo.SGD(1e-6, momentum=0.9, dampening=0.0, nesterov=True)
    params = params_of(nesterov, no_count)
    assert (params["nesterov"], params["dampening"], params["momentum"]) == (True, 0.0, 0.9)
    lars = params_of(zoo.LarsSGD(0.1, trust=0.01), no_count)
    assert (lars["optimizer"], lars["trustCoefficient"]) == ("lars", 0.01)
    bert = params_of(zoo.AdamWeightDecay(), no_count)
    assert (bert["optimizer"], bert["weightDecay"]) == ("adamw", 0.01)


@pytest.mark.parametrize(
    ("method", "why"),
    [
        (zoo.SGD(learningrate_decay=0.1), "decay"),
        (zoo.SGD(momentum=0.9, nesterov=True), "dampening"),
        (zoo.SGD(learningrates=[1.0]), "layerRules"),
        (zoo.Adam(epsilon=1e-3), "epsilon"),
        (zoo.AdamWeightDecay(warmup_portion=0.1), "warmup"),
        ("sgd", "optimMethod"),
    ],
)
def test_what_an_optimizer_cannot_do_today_is_said(method, why):
    with pytest.raises(InvalidValueError, match=why):
        params_of(method, no_count)


def test_l2_adds_l2_times_w_to_the_gradient_which_is_half_of_keras():
    decay = weight_decay_of(zoo.L2Regularizer(0.1))
    spec = OptimizerSpec(name="sgd", weight_decay=0.0, head_weight_decay=decay)
    weight = torch.nn.Parameter(torch.full((1, 1), 2.0))
    optimizer = spec.build([("head", weight)], ["head"])
    set_lr(optimizer, 1.0)
    weight.grad = torch.zeros(1, 1)
    optimizer.step()
    assert float(weight.detach()) == pytest.approx(2.0 - 0.1 * 2.0)
    assert weight_decay_of(None) == 0
    assert weight_decay_of(zoo.L1L2Regularizer(0.0, 0.2)) == 0.2
    for l1 in (zoo.L1Regularizer(0.1), zoo.L1L2Regularizer(0.1, 0.2)):
        with pytest.raises(InvalidValueError, match="L2"):
            weight_decay_of(l1)


def test_triggers_that_recur():
    assert every_of(zoo.EveryEpoch()) == Every(epochs=1)
    assert every_of(zoo.SeveralIteration(50)) == Every(steps=50)
    with pytest.raises(InvalidValueError, match="EveryEpoch"):
        every_of(zoo.MaxEpoch(3))


@pytest.mark.parametrize(
    ("trigger", "expected"),
    [
        (zoo.MaxEpoch(3), {"maxEpochs": 3}),
        (
            zoo.TriggerOr(zoo.MaxIteration(70), zoo.MaxScore(0.8), zoo.MaxEpoch(9)),
            {
                "maxSteps": 70,
                "bestMetric": "valid_mean_auroc",
                "targetValue": 0.8,
                "maxEpochs": 9,
            },
        ),
        (zoo.TriggerOr(zoo.MaxEpoch(3), zoo.MaxEpoch(2)), {"maxEpochs": 2}),
        (zoo.TriggerAnd(zoo.MaxEpoch(3), zoo.MaxEpoch(2)), {"maxEpochs": 3}),
    ],
)
def test_triggers_that_end_training(trigger, expected):
    assert ending_params(trigger) == expected


def test_without_an_epoch_limit_the_others_decide():
    params = ending_params(zoo.MinLoss(0.1))
    assert (params["bestMetric"], params["targetValue"]) == ("valid_loss", 0.1)
    assert params["maxEpochs"] > 10_000


@pytest.mark.parametrize(
    "trigger",
    [
        zoo.TriggerAnd(zoo.MaxEpoch(3), zoo.MaxIteration(9)),
        zoo.TriggerOr(zoo.MaxScore(0.8), zoo.MinLoss(0.1)),
        zoo.EveryEpoch(),
    ],
)
def test_ends_that_the_engine_does_not_know_are_refused(trigger):
    with pytest.raises(InvalidValueError):
        ending_params(trigger)


def test_criteria():
    assert loss_params(zoo.BinaryCrossEntropy()) == {"loss": "bce"}
    assert loss_params(zoo.BCECriterion([1.0, 2.0]))["findingWeights"] == [1.0, 2.0]
    assert loss_params(FocalLoss()) == {"loss": FocalLoss()}
    assert class_loss(zoo.ClassNLLCriterion([1, 2])) == CrossEntropy(class_weights=(1.0, 2.0))
    assert class_loss(zoo.BCECriterion()) == CrossEntropy()
    assert row_loss(zoo.MeanAbsoluteError()) == "l1"
    assert row_loss(zoo.BCECriterion()) == "torch:BCELoss", "the sigmoid stays"
    with pytest.raises(InvalidValueError, match="of classes"):
        class_loss(zoo.MSECriterion())
    with pytest.raises(InvalidValueError, match=r"BCECriterion .*CrossEntropyCriterion\(weights"):
        class_loss(zoo.BCECriterion([3.0]))
    with pytest.raises(InvalidValueError, match="NNClassifier"):
        loss_params(zoo.CrossEntropyCriterion())
    with pytest.raises(InvalidValueError, match="migration"):
        loss_params(StepDecay(base=1.0, factor=0.5, steps=2))
