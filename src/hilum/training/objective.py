"""What a step minimises and a validation measures: the loss of findings, or of any outputs.

Both are exact means over the whole batch or split, on any number of ranks: each rank knows what
its rows add, and what all rows weigh.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from hilum.inputs import RowSpec
from hilum.optim import OutputLosses, Share, Targets, class_logits, losses_of, share_of_mean
from hilum.training.batches import Batch
from hilum.training.config import TrainConfig
from hilum.training.source import Inputs, arguments
from hilum.training.world import World, all_reduce_sum

__all__ = ["RowsMeasure", "batch_share", "measure_rows"]


class RowsMeasure(NamedTuple):
    """What a validation of rows finds; None where no label is known.

    Attributes:
        loss: what is minimised.
        accuracy: share of the rows whose class has the largest logit; of classes alone.
        log_loss: mean of -log of the probability of the true class; of classes alone.
    """

    loss: float | None = None
    accuracy: float | None = None
    log_loss: float | None = None


def batch_share(
    config: TrainConfig, world: World, outputs: object, inputs: Inputs, batch: Batch
) -> Share:
    """Return what a rank's rows of a step add to the mean loss of the global batch.

    Args:
        outputs: what the network returned for `inputs`.
    """
    own = Targets(batch.labels, batch.weights)
    whole = Targets(batch.global_labels, batch.global_weights)
    rows, num_real = config.rows, batch.num_real
    if rows is None:
        assert isinstance(outputs, Tensor)
        assert not isinstance(config.loss, OutputLosses), "findings have one loss"
        return share_of_mean(config.loss, outputs.float(), own, whole, num_real=num_real)
    shares = _output_shares(config, rows, outputs, arguments(inputs), own, whole, num_real)
    totals = _totals(rows, shares, world)
    if len(shares) == 1:  # whose weight is 1
        return shares[0]._replace(total=totals[0])
    # Means of several outputs are added; the batch counts by its rows.
    total = float(batch.global_weights.sum()) or 1.0
    factors = losses_of(config.loss, len(shares)).weights
    means = [f * s.summed / at for f, s, at in zip(factors, shares, totals, strict=True)]
    summed = torch.stack(means).sum()
    return Share(summed * total, float(batch.weights[:num_real].sum()), total)


def measure_rows(
    config: TrainConfig,
    world: World,
    results: Iterable[tuple[object, Inputs, Targets]],
) -> RowsMeasure:
    """The loss over all rows of all ranks, equal on each, and how well classes are told apart.

    Args:
        results: of this rank's rows, piece by piece: outputs, inputs, and what they should give.
    """
    rows = config.rows
    assert rows is not None
    sums = torch.zeros(len(rows.targets), 2, dtype=torch.float64)
    called = torch.zeros(3, dtype=torch.float64)
    for outputs, inputs, own in results:
        count = len(own.weights)
        shares = _output_shares(config, rows, outputs, arguments(inputs), own, own, count)
        for number, share in enumerate(shares):
            sums[number, 0] += float(share.summed)
            sums[number, 1] += share.weight
        if rows.classes:
            called += _called(rows.output_tuple(outputs)[0], own)
    sums = all_reduce_sum(sums, world)
    factors = losses_of(config.loss, len(rows.targets)).weights
    known = [
        factor * summed / weight
        for (summed, weight), factor in zip(sums.tolist(), factors, strict=True)
        if weight > 0
    ]
    loss = sum(known) if known else None
    if not rows.classes:
        return RowsMeasure(loss)
    right, surprise, weight = all_reduce_sum(called, world).tolist()
    return RowsMeasure(loss, right / weight, surprise / weight) if weight else RowsMeasure(loss)


def _called(output: Tensor, own: Targets) -> Tensor:
    """Weight of the rows called right, -log of their true class's probability, and their weight."""
    logits = class_logits(output.double())
    labels = own.labels.reshape(-1).to(logits.device)
    known = ~labels.isnan()
    classes = torch.where(known, labels, 0).long()
    weights = torch.where(known, own.weights.to(logits.device).double(), 0.0)
    right = (logits.argmax(dim=1) == classes).double()
    surprise = functional.cross_entropy(logits, classes, reduction="none")
    return torch.stack([(right * weights).sum(), (surprise * weights).sum(), weights.sum()]).cpu()


def _output_shares(
    config: TrainConfig,
    rows: RowSpec,
    outputs: object,
    inputs: Sequence[Tensor],
    own: Targets,
    whole: Targets,
    num_real: int,
) -> list[Share]:
    found = rows.output_tuple(outputs)
    device = found[0].device
    mine = rows.labels(own.labels.to(device, non_blocking=True), inputs)
    others = rows.labels(whole.labels, inputs)
    shares = []
    losses = losses_of(config.loss, len(found)).losses
    for number, (output, target) in enumerate(zip(found, rows.targets, strict=True)):
        loss = losses[number]
        learnt = target.input is not None
        labels = shaped_like(output, mine[number])
        everyone = own.weights if learnt else whole.weights
        all_labels = labels if learnt else shaped_like(output, others[number])
        own_targets, all_targets = Targets(labels, own.weights), Targets(all_labels, everyone)
        shares.append(
            share_of_mean(loss, output.float(), own_targets, all_targets, num_real=num_real)
        )
    return shares


def _totals(rows: RowSpec, shares: Sequence[Share], world: World) -> list[float]:
    """Weights of the whole batch: where an input is learnt, no rank knows the others' rows."""
    totals = []
    for share, target in zip(shares, rows.targets, strict=True):
        if target.input is None:
            totals.append(share.total)
        else:
            weight = torch.tensor(share.weight, dtype=torch.float64)
            totals.append(float(all_reduce_sum(weight, world)) or 1.0)
    return totals


def shaped_like(output: Tensor, labels: Tensor) -> Tensor:
    """Labels in the output's shape where they differ by sizes of 1 alone, else as they are.

    A network for one number gives (N, 1) or (N,), and a column of numbers means both.
    """
    shape = tuple(output.shape[1:])
    squeezed = [size for size in shape if size != 1] == [s for s in labels.shape[1:] if s != 1]
    return labels.reshape(len(labels), *shape) if squeezed else labels
