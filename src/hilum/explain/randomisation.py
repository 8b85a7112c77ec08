"""The sanity check of Adebayo et al. (NeurIPS 2018): does the map depend on the weights at all?

A map that stays as it is while the network forgets layer by layer shows the image's edges, not
what the model learned, and explains nothing.
"""

import copy
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn

from hilum.errors import require
from hilum.explain.explainer import Explainer, Method
from hilum.explain.heat_map import HeatMap
from hilum.inference.predictor import Pixels

__all__ = ["RandomisationCheck", "RandomisationStage", "randomisation_check"]

_COMPARED_PIXELS = 64  # a side; ranks and SSIM of coarse maps need no more


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomisationStage:
    """How much of the map is left after the top of the network forgot what it learned.

    Attributes:
        layers: layers with random weights, counted from the head down.
        rank_correlation: Spearman's, between the maps before and after; None if one is constant.
        ssim: structural similarity of the two maps (Wang et al. 2004), global, in [-1, 1].
    """

    layers: int
    rank_correlation: float | None
    ssim: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomisationCheck:
    """The stages of a cascade from the head down; the last has no learned weight left."""

    finding: str
    method: str
    stages: tuple[RandomisationStage, ...]

    def passes(self, *, max_similarity: float = 0.5) -> bool:
        """Whether the map of the fully random network differs from that of the model.

        A correlation that is undefined (one of the maps is empty) counts as different.
        """
        last = self.stages[-1]
        return (last.rank_correlation or 0.0) <= max_similarity and last.ssim <= max_similarity

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self) | {"passes": self.passes()}


def randomisation_check(
    explainer: Explainer,
    pixels: Pixels,
    finding: str,
    *,
    method: Method = "grad-cam",
    num_stages: int = 4,
    seed: int = 0,
) -> RandomisationCheck:
    """Randomise the network from the head down, in `num_stages` steps, and compare the maps.

    Args:
        explainer: of the model; it is not changed.
        pixels: one radiograph, uint8 (H, W).
        finding: whose map.
        method: "grad-cam" or "occlusion".
        num_stages: maps to make; the last one has every layer random.
        seed: of the random weights.
    """
    require(num_stages > 0, "num_stages", "positive", num_stages)
    (before,) = explainer.explain(pixels, [finding], method=method)
    network = copy.deepcopy(explainer.network)
    layers = list(_layers_from_the_head(network))
    changed = replace(explainer, network=network)
    bounds = np.linspace(0, len(layers), num_stages + 1).round().astype(int).tolist()
    stages = []
    for first, last in pairwise(bounds):
        for position in range(first, last):
            _randomise(layers[position], seed=seed + position)
        (after,) = changed.explain(pixels, [finding], method=method)
        stages.append(_compared(before, after, layers=last))
    return RandomisationCheck(finding=before.finding, method=method, stages=tuple(stages))


def _layers_from_the_head(network: nn.Module) -> Iterator[nn.Module]:
    """Layers with weights of their own, the head first."""
    for module in reversed(list(network.modules())):
        if any(True for _ in module.parameters(recurse=False)):
            yield module


def _randomise(layer: nn.Module, *, seed: int) -> None:
    """He-normal weights, which keep the signal alive; normalisation becomes the identity."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in layer.named_parameters(recurse=False):
            if parameter.ndim >= 2:
                fan_in = parameter[0].numel()
                drawn = torch.randn(parameter.shape, generator=generator) * (2 / fan_in) ** 0.5
                parameter.copy_(drawn)
            else:
                parameter.fill_(0.0 if name == "bias" else 1.0)


def _compared(before: HeatMap, after: HeatMap, *, layers: int) -> RandomisationStage:
    first, second = _small(before), _small(after)
    return RandomisationStage(
        layers=layers,
        rank_correlation=_rank_correlation(first, second),
        ssim=_global_ssim(first, second),
    )


def _small(heat_map: HeatMap) -> np.ndarray[Any, np.dtype[np.float64]]:
    values = torch.from_numpy(heat_map.values)[None, None]
    size = (_COMPARED_PIXELS, _COMPARED_PIXELS)
    small = nn.functional.interpolate(values, size, mode="bilinear", antialias=True)
    return small[0, 0].numpy().astype(np.float64)


def _rank_correlation(
    first: np.ndarray[Any, np.dtype[np.float64]], second: np.ndarray[Any, np.dtype[np.float64]]
) -> float | None:
    from scipy.stats import spearmanr

    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return float(spearmanr(first.ravel(), second.ravel()).statistic)


def _global_ssim(
    first: np.ndarray[Any, np.dtype[np.float64]], second: np.ndarray[Any, np.dtype[np.float64]]
) -> float:
    """SSIM over one window that is the whole map, values in [0, 1], constants of the paper."""
    c1, c2 = 0.01**2, 0.03**2
    covariance = float(np.cov(first.ravel(), second.ravel(), bias=True)[0, 1])
    means = 2 * first.mean() * second.mean() + c1, first.mean() ** 2 + second.mean() ** 2 + c1
    spreads = 2 * covariance + c2, first.var() + second.var() + c2
    return float(means[0] * spreads[0] / (means[1] * spreads[1]))
