"""Losses of the user's own, and one per output."""

import json
import math

import pytest
import torch
from torch.nn import functional

from hilum.errors import InvalidValueError, MissingDependencyError
from hilum.optim import (
    CrossEntropy,
    OutputLosses,
    OwnLoss,
    TorchLoss,
    loss_from_json,
    loss_of,
    loss_to_json,
    mean_loss,
    own_loss,
)
from row_nets import worst


def stored(loss):
    return loss_from_json(json.loads(json.dumps(loss_to_json(loss))))


def test_a_marked_function_is_a_loss_whose_unknown_rows_neither_count_nor_teach():
    loss = own_loss(worst, power=2)
    assert loss == OwnLoss(callable="row_nets:worst", options=(("power", 2),)) == stored(loss)
    outputs = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    labels = torch.zeros(4, 3)
    labels[1, 2] = math.nan
    labels[3] = math.nan
    mean = mean_loss(loss, outputs, labels)
    known = outputs[[0, 2]].abs().amax(1) ** 2
    torch.testing.assert_close(mean, known.mean())
    (grad,) = torch.autograd.grad(mean, outputs)
    assert (grad[[1, 3]] == 0).all()
    assert (grad[[0, 2]] != 0).any()
    nothing = mean_loss(loss, outputs, torch.full((4, 3), math.nan))
    assert nothing.item() == 0.0
    (none,) = torch.autograd.grad(nothing, outputs)
    assert (none == 0).all(), "ranks without known labels still exchange a gradient"
    assert loss_of("row_nets:worst") == own_loss(worst)


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda: own_loss(lambda a, b: a), InvalidValueError, "loss_function"),
        (lambda: loss_of("os:system"), InvalidValueError, "marked with"),
        (lambda: loss_of("no_module:loss"), MissingDependencyError, "--py-files"),
        (lambda: own_loss(worst, power={"a": 1}), InvalidValueError, "numbers, texts or lists"),
        (
            lambda: loss_from_json({"type": "OwnLoss", "callable": "os:system"}).elementwise(
                torch.zeros(1, 1), torch.zeros(1, 1)
            ),
            InvalidValueError,
            "marked with",
        ),
    ],
)
def test_only_functions_marked_as_losses_are_called(make, error, said):
    with pytest.raises(error, match=said):
        make()


def test_a_function_of_another_shape_is_said(monkeypatch):
    with pytest.raises(InvalidValueError, match=r"row_nets:worst returns must be .*\(2,\)"):
        own_loss(worst).elementwise(torch.zeros(2, 3, 4), torch.zeros(2, 3, 4))


def test_losses_of_several_outputs_find_their_columns():
    mse, l1 = TorchLoss(name="MSELoss"), TorchLoss(name="L1Loss")
    both = OutputLosses(losses=(mse, l1), weights=(2.0, 0.5), columns=("b", "a"))
    assert stored(both) == both
    ordered = both.in_order_of(("a", "b"))
    assert (ordered.losses, ordered.weights) == ((l1, mse), (0.5, 2.0))
    assert OutputLosses(losses=(mse, l1)).in_order_of(("a", "b")).weights == (1.0, 1.0)
    assert OutputLosses(losses=(mse,), weights=(3.0,)).weights == (1.0,), "nothing to weigh against"
    for wrong in (both, OutputLosses(losses=(mse,))):
        with pytest.raises(InvalidValueError, match=r"one per label column \(a, c\)"):
            wrong.in_order_of(("a", "c"))
    with pytest.raises(InvalidValueError, match="2 positive numbers"):
        OutputLosses(losses=(mse, l1), weights=(1.0,))


@pytest.mark.parametrize("shape", [(5, 1), (5,)])
def test_the_cross_entropy_of_a_single_logit_is_the_binary_one(shape):
    logits = torch.linspace(-4, 4, 5).reshape(shape).requires_grad_()
    labels = torch.tensor([0.0, 1.0, math.nan, 1.0, 0.0])
    ours = mean_loss(CrossEntropy(), logits, labels)
    known = [0, 1, 3, 4]
    flat = logits.reshape(-1)
    theirs = functional.binary_cross_entropy_with_logits(flat[known], labels[known])
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(*(torch.autograd.grad(one, logits)[0] for one in (ours, theirs)))
