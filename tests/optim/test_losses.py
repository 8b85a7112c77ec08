import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from hilum.errors import InvalidValueError
from hilum.optim import (
    AsymmetricLoss,
    BCEWithLogits,
    CrossEntropy,
    FocalLoss,
    loss_from_json,
    loss_of,
    loss_to_json,
    mean_loss,
)

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


WEIGHTED = [
    BCEWithLogits(),
    BCEWithLogits(pos_weight=(2.0, 3.0, 0.5), finding_weights=(0.01, 2.0, 1.0)),
    BCEWithLogits(label_smoothing=0.2, finding_weights=(1.0, 2.0, 3.0)),
    FocalLoss(finding_weights=(0.01, 2.0, 1.0)),
    AsymmetricLoss(finding_weights=(0.01, 2.0, 1.0), label_smoothing=0.1),
]


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.sampled_from([0.0, 1.0, NAN]), min_size=12, max_size=12), st.sampled_from(WEIGHTED)
)
def test_unknown_labels_neither_count_nor_teach(flat, loss):
    labels = torch.tensor(flat).reshape(4, 3)
    known = ~labels.isnan()
    logits = some_logits(4, 3).requires_grad_()
    mean = mean_loss(loss, logits, labels)
    mean.backward()
    assert ((loss.weights(labels) > 0) == known).all()
    assert (loss.elementwise(logits, labels)[~known] == 0).all()
    assert (logits.grad[~known] == 0).all()
    if known.any():
        terms, weights = loss.elementwise(logits, labels.nan_to_num()), loss.weights(labels)
        expected = terms[known].sum() / weights.sum()
        torch.testing.assert_close(mean, expected)
        (expected_grad,) = torch.autograd.grad(expected, logits)
        torch.testing.assert_close(logits.grad, expected_grad)
    else:
        assert mean == 0


@pytest.mark.parametrize("wild", [NAN, math.inf, -math.inf, 1e30])
def test_a_wild_logit_at_an_unknown_label_gives_a_zero_gradient(wild):
    for loss in (BCEWithLogits(), FocalLoss(gamma=0.5), AsymmetricLoss(gamma_negative=0.5)):
        logits = torch.tensor([[wild, 0.5]], requires_grad=True)
        mean_loss(loss, logits, torch.tensor([[NAN, 1.0]])).backward()
        assert logits.grad[0, 0] == 0
        assert logits.grad[0, 1].isfinite()
    logits = torch.tensor([[wild, 0.5], [0.0, 1.0]], requires_grad=True)
    mean_loss(CrossEntropy(), logits, torch.tensor([NAN, 1.0])).backward()
    assert (logits.grad[0] == 0).all()
    assert logits.grad[1].isfinite().all()


@given(st.integers(1, 7), st.sampled_from(WEIGHTED))
def test_shares_of_a_batch_add_up_to_its_mean(cut, loss):
    logits, labels = some_logits(8, 3), some_labels(8, 3)
    labels[2, 1] = labels[7, 0] = NAN
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


@pytest.mark.parametrize("weights", [None, (1.0, 3.0, 0.5)])
@pytest.mark.parametrize("places", [(5,), (1, 5)])
def test_cross_entropy_of_sequences_ignores_unknown_places_as_torch_does(weights, places):
    logits = some_logits(4, 3 * 5).reshape(4, 3, *places).requires_grad_()
    flat = torch.arange(20.0).reshape(4, 5) % 3
    flat[1, 2:] = NAN
    flat[2] = NAN
    labels = flat.reshape(4, *places)
    expected = functional.cross_entropy(
        logits,
        labels.nan_to_num(-100).long(),
        weight=None if weights is None else torch.tensor(weights),
    )
    (their_grad,) = torch.autograd.grad(expected, logits)
    loss = CrossEntropy(class_weights=weights)
    torch.testing.assert_close(mean_loss(loss, logits, flat), expected)
    ours = mean_loss(loss, logits, labels)
    (our_grad,) = torch.autograd.grad(ours, logits)
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(our_grad, their_grad)


def test_cross_entropy_takes_one_label_of_a_row_in_a_column_of_its_own():
    logits, labels = some_logits(3, 4), torch.tensor([2.0, NAN, 1.0])
    expected = mean_loss(CrossEntropy(), logits, labels)
    torch.testing.assert_close(mean_loss(CrossEntropy(), logits, labels[:, None]), expected)


def test_labels_of_another_shape_are_refused():
    with pytest.raises(InvalidValueError, match="labels must be"):
        BCEWithLogits().elementwise(torch.zeros(4, 3), torch.zeros(4, 1))
    with pytest.raises(InvalidValueError, match="labels must be"):
        CrossEntropy().elementwise(torch.zeros(4, 3), torch.zeros(4, 2))
    with pytest.raises(InvalidValueError, match=r"of shape \(4, 5\) for logits of .*\(4, 3, 5\)"):
        CrossEntropy().elementwise(torch.zeros(4, 3, 5), torch.zeros(4, 3))
    with pytest.raises(InvalidValueError, match="class numbers, whole and from 0"):
        CrossEntropy().weights(torch.tensor([0.0, -1.0]))
    with pytest.raises(InvalidValueError, match="pos_weight must be 3 numbers"):
        BCEWithLogits(pos_weight=(1.0,)).elementwise(torch.zeros(4, 3), torch.zeros(4, 3))
    with pytest.raises(InvalidValueError, match="pos_weight must be positive"):
        BCEWithLogits(pos_weight=(1.0, 0.0))


@pytest.mark.parametrize(
    "loss",
    [
        BCEWithLogits(),
        BCEWithLogits(pos_weight=(1.0, 20.0), finding_weights=(2.0, 1.0), label_smoothing=0.1),
        FocalLoss(gamma=1.5, alpha=None, finding_weights=(2.0, 1.0)),
        AsymmetricLoss(gamma_positive=1.0, margin=0.0, label_smoothing=0.05),
        CrossEntropy(),
        CrossEntropy(class_weights=(1.0, 2.0), label_smoothing=0.1),
    ],
)
def test_a_loss_survives_json(loss):
    assert loss_from_json(json.loads(json.dumps(loss_to_json(loss)))) == loss


def test_an_unknown_loss_is_refused_with_the_known_ones():
    with pytest.raises(InvalidValueError, match=r"BCEWithLogits, FocalLoss, .*CrossEntropy"):
        loss_from_json({"type": "Hinge"})


def test_a_loss_goes_by_name_or_json():
    assert loss_of("bce") == BCEWithLogits()
    wanted = FocalLoss(gamma=1.0, alpha=None)
    assert loss_of(json.dumps(loss_to_json(wanted))) == wanted


def test_losses_of_other_data_have_names_too():
    assert loss_of("cross_entropy") == CrossEntropy()
    assert loss_of('{"type": "CrossEntropy"}') == CrossEntropy()
    assert loss_of("huber") == loss_of("torch:HuberLoss")


@pytest.mark.parametrize("text", ["hinge", "", "{", '{"type": "Hinge"}', "3"])
def test_what_is_no_loss_is_refused(text):
    with pytest.raises(InvalidValueError, match=r"loss must be one of .*bce, focal, asymmetric"):
        loss_of(text)
