import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from hilum.errors import InvalidValueError
from hilum.optim import BCEWithLogits, CrossEntropy, loss_from_json, loss_to_json, mean_loss

NAN = math.nan


def some_logits(*shape, seed=0):
    return 5 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def some_labels(*shape, seed=1):
    return torch.randint(0, 2, shape, generator=torch.Generator().manual_seed(seed)).float()


@pytest.mark.parametrize("pos_weight", [None, (1.0, 10.0, 0.5)])
def test_bce_is_torchs_when_all_labels_are_known(pos_weight):
    logits, labels = some_logits(6, 3), some_labels(6, 3)
    weight = None if pos_weight is None else torch.tensor(pos_weight)
    expected = functional.binary_cross_entropy_with_logits(logits, labels, pos_weight=weight)
    loss = BCEWithLogits(pos_weight=pos_weight)
    torch.testing.assert_close(mean_loss(loss, logits, labels), expected)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.sampled_from([0.0, 1.0, NAN]), min_size=12, max_size=12))
def test_unknown_labels_neither_count_nor_teach(flat):
    labels = torch.tensor(flat).reshape(4, 3)
    known = ~labels.isnan()
    logits = some_logits(4, 3).requires_grad_()
    loss = BCEWithLogits()
    mean = mean_loss(loss, logits, labels)
    mean.backward()
    assert loss.weights(labels).sum() == known.sum()
    assert (loss.elementwise(logits, labels)[~known] == 0).all()
    assert (logits.grad[~known] == 0).all()
    if known.any():
        expected = functional.binary_cross_entropy_with_logits(logits[known], labels[known])
        torch.testing.assert_close(mean, expected)
        (expected_grad,) = torch.autograd.grad(expected, logits)
        torch.testing.assert_close(logits.grad, expected_grad)
    else:
        assert mean == 0


@pytest.mark.parametrize("wild", [NAN, math.inf, -math.inf, 1e30])
def test_a_wild_logit_at_an_unknown_label_gives_a_zero_gradient(wild):
    logits = torch.tensor([[wild, 0.5]], requires_grad=True)
    mean_loss(BCEWithLogits(), logits, torch.tensor([[NAN, 1.0]])).backward()
    assert logits.grad[0, 0] == 0
    assert logits.grad[0, 1].isfinite()
    logits = torch.tensor([[wild, 0.5], [0.0, 1.0]], requires_grad=True)
    mean_loss(CrossEntropy(), logits, torch.tensor([NAN, 1.0])).backward()
    assert (logits.grad[0] == 0).all()
    assert logits.grad[1].isfinite().all()


@given(st.integers(1, 7))
def test_shares_of_a_batch_add_up_to_its_mean(cut):
    logits, labels = some_logits(8, 3), some_labels(8, 3)
    labels[2, 1] = labels[7, 0] = NAN
    loss = BCEWithLogits(pos_weight=(2.0, 3.0, 4.0))
    shares = [(logits[:cut], labels[:cut]), (logits[cut:], labels[cut:])]
    total = sum(loss.elementwise(*share).sum() for share in shares)
    weight = sum(loss.weights(labels).sum() for _, labels in shares)
    torch.testing.assert_close(total / weight, mean_loss(loss, logits, labels))


def test_half_precision_logits_give_a_float32_loss():
    logits, labels = some_logits(4, 3).bfloat16(), some_labels(4, 3)
    terms = BCEWithLogits().elementwise(logits, labels)
    assert terms.dtype == torch.float32
    torch.testing.assert_close(terms, BCEWithLogits().elementwise(logits.float(), labels))


def test_cross_entropy_is_torchs_for_integer_and_float_labels():
    logits, labels = some_logits(6, 4), torch.tensor([0, 1, 2, 3, 3, 0])
    expected = functional.cross_entropy(logits, labels, reduction="none")
    torch.testing.assert_close(CrossEntropy().elementwise(logits, labels), expected)
    torch.testing.assert_close(CrossEntropy().elementwise(logits, labels.float()), expected)
    assert CrossEntropy().weights(labels).tolist() == [1.0] * 6


def test_cross_entropy_leaves_out_unknown_classes():
    logits, labels = some_logits(3, 4), torch.tensor([2.0, NAN, 1.0])
    expected = functional.cross_entropy(logits[[0, 2]], torch.tensor([2, 1]))
    torch.testing.assert_close(mean_loss(CrossEntropy(), logits, labels), expected)
    assert CrossEntropy().weights(labels).tolist() == [1.0, 0.0, 1.0]


def test_labels_of_another_shape_are_refused():
    with pytest.raises(InvalidValueError, match="labels must be"):
        BCEWithLogits().elementwise(torch.zeros(4, 3), torch.zeros(4, 1))
    with pytest.raises(InvalidValueError, match="labels must be"):
        CrossEntropy().elementwise(torch.zeros(4, 3), torch.zeros(4, 1))
    with pytest.raises(InvalidValueError, match="pos_weight must be 3 numbers"):
        BCEWithLogits(pos_weight=(1.0,)).elementwise(torch.zeros(4, 3), torch.zeros(4, 3))
    with pytest.raises(InvalidValueError, match="pos_weight must be positive"):
        BCEWithLogits(pos_weight=(1.0, 0.0))


@pytest.mark.parametrize(
    "loss", [BCEWithLogits(), BCEWithLogits(pos_weight=(1.0, 20.0)), CrossEntropy()]
)
def test_a_loss_survives_json(loss):
    assert loss_from_json(json.loads(json.dumps(loss_to_json(loss)))) == loss


def test_an_unknown_loss_is_refused_with_the_known_ones():
    with pytest.raises(InvalidValueError, match="BCEWithLogits, CrossEntropy"):
        loss_from_json({"type": "Hinge"})
