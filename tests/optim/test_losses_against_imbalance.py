"""Focal and asymmetric loss, smoothing and weights: against torch, torchvision and formulas."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss

from hilum.errors import InvalidValueError
from hilum.optim import (
    AsymmetricLoss,
    BCEWithLogits,
    CrossEntropy,
    FocalLoss,
    class_weights,
    mean_loss,
    positive_weights,
    total_weight,
)

NAN = math.nan


def some_logits(*shape, scale=4.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(*shape, generator=generator)).double()


def some_labels(*shape, seed=1):
    return torch.randint(0, 2, shape, generator=torch.Generator().manual_seed(seed)).double()


def terms_and_gradient(function, logits):
    logits = logits.clone().requires_grad_()
    terms = function(logits)
    (gradient,) = torch.autograd.grad(terms.sum(), logits)
    return terms.detach(), gradient


def assert_same_with_gradient(ours, reference, logits):
    for own, other in zip(
        terms_and_gradient(ours, logits), terms_and_gradient(reference, logits), strict=True
    ):
        torch.testing.assert_close(own, other, rtol=1e-9, atol=1e-12)


@settings(deadline=None, max_examples=30)
@given(gamma=st.sampled_from([0.0, 0.5, 1.0, 2.0, 5.0]), alpha=st.sampled_from([None, 0.25, 0.7]))
def test_focal_loss_and_its_gradient_are_torchvisions(gamma, alpha):
    labels = some_labels(6, 3)
    assert_same_with_gradient(
        lambda x: FocalLoss(gamma=gamma, alpha=alpha).elementwise(x, labels),
        lambda x: sigmoid_focal_loss(x, labels, alpha=-1 if alpha is None else alpha, gamma=gamma),
        some_logits(6, 3),
    )


def asymmetric_by_the_formula(logits, labels, gamma_positive, gamma_negative, margin):
    """Ridnik et al. 2021, eq. 4 to 7, as written there, in double precision."""
    p = torch.sigmoid(logits)
    p_m = torch.clamp(p - margin, min=0)
    of_positive = (1 - p) ** gamma_positive * torch.log(p)
    of_negative = p_m**gamma_negative * torch.log(1 - p_m)
    return -labels * of_positive - (1 - labels) * of_negative


@pytest.mark.parametrize("margin", [0.0, 0.05, 0.2])
@pytest.mark.parametrize(("positive", "negative"), [(0.0, 4.0), (1.0, 4.0), (1.0, 2.0), (0.0, 1.0)])
def test_asymmetric_loss_and_its_gradient_are_the_papers(positive, negative, margin):
    labels = some_labels(6, 3)
    loss = AsymmetricLoss(gamma_positive=positive, gamma_negative=negative, margin=margin)
    assert_same_with_gradient(
        lambda x: loss.elementwise(x, labels),
        lambda x: asymmetric_by_the_formula(x, labels, positive, negative, margin),
        some_logits(6, 3),
    )


def test_without_focusing_both_are_binary_cross_entropy():
    logits, labels = some_logits(6, 3), some_labels(6, 3)
    expected = functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    flat = AsymmetricLoss(gamma_positive=0, gamma_negative=0, margin=0)
    for loss in (FocalLoss(gamma=0, alpha=None), flat):
        torch.testing.assert_close(loss.elementwise(logits, labels), expected)


def test_an_easy_negative_below_the_margin_teaches_nothing():
    logits = torch.tensor([[-4.0, -1.0]], requires_grad=True)  # probabilities 0.018 and 0.27
    AsymmetricLoss(margin=0.05).elementwise(logits, torch.zeros(1, 2)).sum().backward()
    assert logits.grad[0, 0] == 0
    assert logits.grad[0, 1] > 0


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("extreme", [-200.0, -90.0, 0.0, 90.0, 200.0])
def test_gradients_stay_finite_at_extreme_logits(gamma, extreme):
    for loss in (
        FocalLoss(gamma=gamma),
        AsymmetricLoss(gamma_positive=gamma, gamma_negative=gamma),
        AsymmetricLoss(gamma_positive=gamma, gamma_negative=gamma, margin=0.0),
    ):
        logits = torch.full((1, 2), extreme, requires_grad=True)
        loss.elementwise(logits, torch.tensor([[0.0, 1.0]])).sum().backward()
        assert logits.grad.isfinite().all(), (loss, logits.grad)


@pytest.mark.parametrize("loss", [BCEWithLogits, FocalLoss, AsymmetricLoss])
def test_smoothing_moves_labels_towards_a_half(loss):
    logits, labels = some_logits(6, 3), some_labels(6, 3)
    smoothed = loss(label_smoothing=0.2).elementwise(logits, labels)
    torch.testing.assert_close(smoothed, loss().elementwise(logits, labels * 0.8 + 0.1))


def test_smoothed_and_weighted_cross_entropy_is_torchs():
    logits, labels = some_logits(6, 4), torch.tensor([0, 1, 2, 3, 3, 0])
    weights = (1.0, 0.25, 3.0, 0.125)
    loss = CrossEntropy(class_weights=weights, label_smoothing=0.1)
    assert_same_with_gradient(
        lambda x: mean_loss(loss, x, labels),
        lambda x: functional.cross_entropy(
            x, labels, weight=torch.tensor(weights).double(), label_smoothing=0.1
        ),
        logits,
    )
    with pytest.raises(InvalidValueError, match="class_weights must be 4 numbers"):
        CrossEntropy(class_weights=(1.0, 2.0)).elementwise(logits, labels)


@pytest.mark.parametrize("loss", [BCEWithLogits, FocalLoss, AsymmetricLoss])
def test_a_finding_counts_in_the_mean_by_its_weight(loss):
    logits, labels = some_logits(6, 3), some_labels(6, 3)
    labels[0, 0] = NAN
    weights = (0.5, 0.1, 0.02)
    each = [mean_loss(loss(), logits[:, [f]], labels[:, [f]]) for f in range(3)]
    share = torch.tensor(weights).double() * torch.tensor([5.0, 6.0, 6.0])
    expected = (torch.stack(each) * share).sum() / share.sum()
    weighted = loss(finding_weights=weights)
    torch.testing.assert_close(mean_loss(weighted, logits, labels), expected, check_dtype=False)
    assert float(total_weight(weighted, labels)) == pytest.approx(float(share.sum()))


def test_nothing_known_weighs_one_so_that_it_can_divide():
    labels = torch.full((2, 3), NAN)
    assert float(total_weight(BCEWithLogits(), labels)) == 1
    assert float(mean_loss(BCEWithLogits(), torch.zeros(2, 3), labels)) == 0


@pytest.mark.parametrize(
    ("make", "parameter"),
    [
        (lambda: FocalLoss(gamma=-1.0), "gamma"),
        (lambda: FocalLoss(alpha=1.0), "alpha"),
        (lambda: AsymmetricLoss(gamma_negative=math.inf), "gamma_negative"),
        (lambda: AsymmetricLoss(margin=1.0), "margin"),
        (lambda: BCEWithLogits(label_smoothing=1.0), "label_smoothing"),
        (lambda: BCEWithLogits(finding_weights=(0.0,)), "finding_weights"),
        (lambda: CrossEntropy(class_weights=(-1.0,)), "class_weights"),
        (lambda: CrossEntropy(label_smoothing=-0.1), "label_smoothing"),
    ],
)
def test_a_loss_that_makes_no_sense_is_refused(make, parameter):
    with pytest.raises(InvalidValueError, match=f"^{parameter} must be"):
        make()


def test_positive_weights_are_negatives_per_positive_of_the_known_labels():
    labels = np.array([[1, 0, 1, NAN], [0, 0, 1, NAN], [0, 0, 1, NAN], [0, 1, NAN, NAN]])
    assert positive_weights(labels) == (3.0, 3.0, 1.0, 1.0)
    rare = np.zeros((1000, 2))
    rare[0, 0] = rare[:999, 1] = 1
    assert positive_weights(rare) == (20.0, 1 / 20)
    assert positive_weights(rare, cap=2000) == (999.0, pytest.approx(1 / 999))


def test_class_weights_are_inverse_to_how_often_a_finding_occurs():
    labels = np.zeros((100, 4))
    labels[:50, 0] = labels[:10, 1] = labels[0, 2] = 1
    labels[60:, 0] = NAN
    weights = class_weights(labels)
    assert np.mean(weights) == pytest.approx(1)
    assert np.array(weights) / weights[0] == pytest.approx([1, 5, 20, 20])
    assert class_weights(np.zeros((3, 2))) == (1.0, 1.0)


def test_weights_are_counted_from_a_table_of_labels():
    for count in (positive_weights, class_weights):
        with pytest.raises(InvalidValueError, match="labels must be of shape"):
            count(np.zeros(3))
        with pytest.raises(InvalidValueError, match="cap must be at least 1"):
            count(np.zeros((3, 2)), cap=0.5)


def test_balanced_labels_give_positives_and_negatives_the_same_pull():
    """At a logit of 0 the gradients of all positives and of all negatives cancel."""
    labels = torch.zeros(10, 2)
    labels[0, 0] = labels[:4, 1] = 1
    logits = torch.zeros(10, 2, requires_grad=True)
    mean_loss(BCEWithLogits(pos_weight=positive_weights(labels.numpy())), logits, labels).backward()
    torch.testing.assert_close(logits.grad.sum(dim=0), torch.zeros(2))
