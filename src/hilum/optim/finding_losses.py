"""Losses of findings that are each present or absent: binary cross-entropy, focal, asymmetric.

All take logits and labels (N, F), labels 0, 1 or NaN for unknown. A term is that of a positive
times the label plus that of a negative times the rest, so that smoothed and fractional labels give
the expected loss.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from hilum.errors import require
from hilum.optim.loss import precise_logits

__all__ = ["AsymmetricLoss", "BCEWithLogits", "FocalLoss"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BCEWithLogits:
    """Binary cross-entropy per finding.

    Attributes:
        pos_weight: factor on the positive term of each finding, for rare ones; None is all 1.
        finding_weights: weight of each finding in the mean; None is all 1.
        label_smoothing: share of every label that is replaced by 1/2, for labels that may be wrong.
    """

    pos_weight: tuple[float, ...] | None = None
    finding_weights: tuple[float, ...] | None = None
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        _check_factors("pos_weight", self.pos_weight)
        _check_common(self.finding_weights, self.label_smoothing)

    def elementwise(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the terms (N, F)."""
        known, scores, targets = _prepared(logits, labels, self.label_smoothing)
        terms = functional.binary_cross_entropy_with_logits(
            scores,
            targets,
            pos_weight=_per_finding("pos_weight", self.pos_weight, scores),
            reduction="none",
        )
        return _weighted(terms, known, self.finding_weights)

    def weights(self, labels: Tensor) -> Tensor:
        """Return the weights (N, F)."""
        return _weights(labels, self.finding_weights)


@dataclass(frozen=True, slots=True, kw_only=True)
class FocalLoss:
    """Binary cross-entropy that looks away from what is easy (Lin et al. 2017, eq. 5).

    A label predicted with probability p counts (1 - p) ** gamma as much. Defaults of the paper;
    torchvision's `sigmoid_focal_loss` for labels 0 and 1.

    Attributes:
        gamma: how much less an easy label counts; 0 is plain cross-entropy.
        alpha: weight of positives, 1 - alpha that of negatives; None is 1 for both.
        finding_weights: as in `BCEWithLogits`. label_smoothing: likewise.
    """

    gamma: float = 2.0
    alpha: float | None = 0.25
    finding_weights: tuple[float, ...] | None = None
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        _check_power("gamma", self.gamma)
        inside = self.alpha is None or 0 < self.alpha < 1
        require(inside, "alpha", "None or between 0 and 1", self.alpha)
        _check_common(self.finding_weights, self.label_smoothing)

    def elementwise(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the terms (N, F)."""
        known, scores, targets = _prepared(logits, labels, self.label_smoothing)
        log_p, log_q = functional.logsigmoid(scores), functional.logsigmoid(-scores)
        # exp(gamma * log q) and not q ** gamma, whose gradient is NaN at q = 0 and gamma < 1.
        of_positive = -log_p * torch.exp(self.gamma * log_q)
        of_negative = -log_q * torch.exp(self.gamma * log_p)
        if self.alpha is not None:
            of_positive, of_negative = self.alpha * of_positive, (1 - self.alpha) * of_negative
        terms = targets * of_positive + (1 - targets) * of_negative
        return _weighted(terms, known, self.finding_weights)

    def weights(self, labels: Tensor) -> Tensor:
        """Return the weights (N, F)."""
        return _weights(labels, self.finding_weights)


@dataclass(frozen=True, slots=True, kw_only=True)
class AsymmetricLoss:
    """Focal loss that treats negatives apart and drops the easy ones (Ridnik et al. 2021, eq. 7).

    Most findings are absent from most radiographs; their negatives would drown the positives.
    The gradient is that of the formula; its authors' code also offers one with the focusing held
    constant, which this is not.

    Attributes:
        gamma_positive: focusing of positives. gamma_negative: of negatives.
        margin: negatives predicted below this probability count nothing; others are moved down
            by it.
        finding_weights: as in `BCEWithLogits`. label_smoothing: likewise.
    """

    gamma_positive: float = 0.0
    gamma_negative: float = 4.0
    margin: float = 0.05
    finding_weights: tuple[float, ...] | None = None
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        _check_power("gamma_positive", self.gamma_positive)
        _check_power("gamma_negative", self.gamma_negative)
        require(0 <= self.margin < 1, "margin", "at least 0 and below 1", self.margin)
        _check_common(self.finding_weights, self.label_smoothing)

    def elementwise(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the terms (N, F)."""
        known, scores, targets = _prepared(logits, labels, self.label_smoothing)
        log_p, log_q = functional.logsigmoid(scores), functional.logsigmoid(-scores)
        of_positive = -log_p * torch.exp(self.gamma_positive * log_q)
        terms = targets * of_positive + (1 - targets) * self._of_negative(scores, log_p, log_q)
        return _weighted(terms, known, self.finding_weights)

    def weights(self, labels: Tensor) -> Tensor:
        """Return the weights (N, F)."""
        return _weights(labels, self.finding_weights)

    def _of_negative(self, scores: Tensor, log_p: Tensor, log_q: Tensor) -> Tensor:
        if self.margin == 0:  # 1 - p may be 0 in float32; its logarithm is known all the same
            return -log_q * torch.exp(self.gamma_negative * log_p)
        shifted = torch.sigmoid(scores) - self.margin
        counts = shifted > 0
        # Where nothing counts any number: the power's gradient may be infinite at 0, times 0 NaN.
        safe = torch.where(counts, shifted, 0.5)
        return torch.where(counts, -torch.log1p(-safe) * safe**self.gamma_negative, 0.0)


def _prepared(logits: Tensor, labels: Tensor, smoothing: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return where labels are known, logits in float32, and smoothed labels; all (N, F)."""
    require(
        logits.ndim == 2 and logits.shape == labels.shape,
        "labels",
        f"of the logits' shape {tuple(logits.shape)}, (images, findings)",
        tuple(labels.shape),
    )
    known = ~labels.isnan()
    scores = precise_logits(logits, known)
    targets = torch.where(known, labels, 0.0).to(scores.dtype)
    return known, scores, targets * (1 - smoothing) + smoothing / 2 if smoothing else targets


def _weighted(terms: Tensor, known: Tensor, finding_weights: tuple[float, ...] | None) -> Tensor:
    factors = _per_finding("finding_weights", finding_weights, terms)
    return torch.where(known, terms if factors is None else terms * factors, 0.0)


def _weights(labels: Tensor, finding_weights: tuple[float, ...] | None) -> Tensor:
    known = (~labels.isnan()).float()
    factors = _per_finding("finding_weights", finding_weights, known)
    return known if factors is None else known * factors


def _per_finding(name: str, values: tuple[float, ...] | None, like: Tensor) -> Tensor | None:
    if values is None:
        return None
    findings = like.shape[1]
    require(len(values) == findings, name, f"{findings} numbers, one per finding", values)
    return torch.tensor(values, dtype=like.dtype, device=like.device)


def _check_common(finding_weights: tuple[float, ...] | None, label_smoothing: float) -> None:
    _check_factors("finding_weights", finding_weights)
    inside = 0 <= label_smoothing < 1
    require(inside, "label_smoothing", "at least 0 and below 1", label_smoothing)


def _check_factors(name: str, values: tuple[float, ...] | None) -> None:
    positive = values is None or all(0 < value < math.inf for value in values)
    require(positive, name, "positive numbers, one per finding", values)


def _check_power(name: str, value: float) -> None:
    require(0 <= value < math.inf, name, "a finite number of at least 0", value)
