"""Losses of torch.nn by name: each is torch's own value and gradient, shares add up, NaN is out."""

import json
import math

import pytest
import torch
from torch import nn

from hilum.errors import InvalidValueError
from hilum.optim import TORCH_LOSSES, TorchLoss, loss_from_json, loss_of, loss_to_json, mean_loss

OPTIONS = {
    "SmoothL1Loss": {"beta": 0.5},
    "HuberLoss": {"delta": 2.0},
    "PoissonNLLLoss": {"log_input": True, "full": True},
    "HingeEmbeddingLoss": {"margin": 0.7},
    "MultiMarginLoss": {"margin": 0.5, "p": 2},
}
CLASSES = "MultiMarginLoss"
ROWS = (CLASSES, "MultiLabelSoftMarginLoss")


def case(name):
    """Outputs (6, 4) and labels in the domain of the loss."""
    generator = torch.Generator().manual_seed(len(name))
    outputs = torch.randn(6, 4, generator=generator)
    labels = torch.randint(0, 2, (6, 4), generator=generator).float()
    if name == "BCELoss":
        outputs = outputs.sigmoid()
    if name == "KLDivLoss":
        outputs, labels = outputs.log_softmax(1), (labels + 0.5).softmax(1)
    if name in ("SoftMarginLoss", "HingeEmbeddingLoss"):
        labels = 2 * labels - 1
    if name == CLASSES:
        labels = torch.randint(0, 4, (6,), generator=generator).float()
    return outputs.requires_grad_(), labels


@pytest.mark.parametrize("name", TORCH_LOSSES)
@pytest.mark.parametrize("with_options", [False, True])
@pytest.mark.filterwarnings("ignore:reduction")
def test_value_and_gradient_are_torchs(name, with_options):
    options = OPTIONS.get(name, {}) if with_options else {}
    outputs, labels = case(name)
    theirs = getattr(nn, name)(**options)(outputs, labels.long() if name == CLASSES else labels)
    (their_grad,) = torch.autograd.grad(theirs, outputs)
    loss = TorchLoss(name=name, options=tuple(options.items()))
    ours = mean_loss(loss, outputs, labels)
    (our_grad,) = torch.autograd.grad(ours, outputs)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(our_grad, their_grad)
    assert loss_from_json(json.loads(json.dumps(loss_to_json(loss)))) == loss


@pytest.mark.parametrize("name", TORCH_LOSSES)
def test_shares_add_up_and_unknown_labels_neither_count_nor_teach(name):
    outputs, labels = case(name)
    loss = TorchLoss(name=name)
    labels[2] = math.nan
    known = [0, 1, 3, 4, 5]
    mean = mean_loss(loss, outputs, labels)
    torch.testing.assert_close(mean, mean_loss(loss, outputs[known], labels[known]))
    (grad,) = torch.autograd.grad(mean, outputs)
    assert (grad[2] == 0).all()
    assert grad.isfinite().all()
    summed = sum(loss.elementwise(outputs[part], labels[part]).sum() for part in (known, [2]))
    torch.testing.assert_close(summed / loss.weights(labels).sum(), mean)


def test_a_column_of_labels_is_not_broadcast_against_a_row_of_outputs():
    outputs, labels = torch.tensor([0.0, 1.0, 2.0]), torch.tensor([[0.0], [1.0], [4.0]])
    assert float(mean_loss(TorchLoss(name="MSELoss"), outputs, labels)) == pytest.approx(4 / 3)
    with pytest.raises(InvalidValueError, match=r"\(3, 2\)"):
        TorchLoss(name="MSELoss").elementwise(torch.zeros(3, 2), labels)


def test_by_name_and_wrong_names_and_options_are_refused():
    assert loss_of("torch:L1Loss") == TorchLoss(name="L1Loss")
    assert loss_of('torch:HuberLoss {"delta": 2.0}') == TorchLoss(
        name="HuberLoss", options=(("delta", 2.0),)
    )
    for wrong in ("torch:Nothing", 'torch:L1Loss {"delta": 1}', "torch:HuberLoss {", "torch:"):
        with pytest.raises(InvalidValueError, match=r"loss|options"):
            loss_of(wrong)
