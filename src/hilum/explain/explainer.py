"""Heat maps of a model's findings by Grad-CAM and by occlusion, through captum.

Grad-CAM (Selvaraju et al., ICCV 2017) weighs the last feature map by the gradient of a finding's
logit: one pass, as fine as that map. Occlusion (Zeiler and Fergus, ECCV 2014) covers one place
after the other and watches the logit fall: no gradients, hundreds of passes.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from hilum.errors import MissingDependencyError, require
from hilum.explain.geometry import to_original
from hilum.explain.heat_map import HeatMap, scaled
from hilum.explain.target_layer import find_target_layer, prepare_for_gradients
from hilum.findings import canonical_finding
from hilum.inference import ModelBundle, Predictor
from hilum.inference.predictor import Pixels
from hilum.preprocessing import Chain

__all__ = ["METHODS", "Explainer", "Method"]

Method = Literal["grad-cam", "occlusion"]
METHODS: tuple[Method, ...] = get_args(Method)

# A seventh of the input's side: as coarse as Grad-CAM's usual 7 x 7 map, moved by half.
_WINDOWS_PER_SIDE = 7


@dataclass(frozen=True, slots=True)
class Explainer:
    """A model that can say where it looked; build it once with `Explainer.load`.

    It holds a network of its own, because hooks on the predictor's would meet other threads'
    predictions. Explain from one thread at a time.
    """

    predictor: Predictor
    network: nn.Module

    @staticmethod
    def load(model: ModelBundle | Predictor) -> "Explainer":
        """Build an explainer from a bundle, or from a predictor at hand."""
        _captum()
        predictor = Predictor.load(model) if isinstance(model, ModelBundle) else model
        network = prepare_for_gradients(copy.deepcopy(predictor.model))
        return Explainer(predictor, network)

    def explain(
        self,
        pixels: Pixels,
        findings: Sequence[str] | None = None,
        *,
        method: Method = "grad-cam",
        top: int = 3,
    ) -> tuple[HeatMap, ...]:
        """Return a heat map per finding for one grey image (H, W) uint8 of any size.

        Args:
            pixels: the radiograph, as it is given to `Predictor.predict`.
            findings: their names; None for the `top` most probable ones, most probable first.
            method: "grad-cam" or "occlusion".
            top: how many, where no findings are named.

        Raises:
            InvalidValueError: an unknown finding or method; or Grad-CAM on a network without a
                feature map.
        """
        require(method in METHODS, "method", f"one of {', '.join(METHODS)}", method)
        require(top > 0, "top", "positive", top)
        require(pixels.ndim == 2, "pixels", "a grey image (H, W)", pixels.shape)
        prepared = self.predictor.prepare(pixels)
        inputs = self.predictor.inputs(prepared)
        probabilities = self.predictor.predict_batch(prepared)[0]
        targets = self._targets(findings, probabilities.argsort()[::-1][:top].tolist())
        evidence = (self._grad_cam if method == "grad-cam" else self._occlusion)(inputs, targets)
        maps = to_original(evidence, self.chain, *pixels.shape)
        heat_maps = []
        for target, values in zip(targets, maps, strict=True):
            values, peak = scaled(values)
            heat_maps.append(
                HeatMap(
                    finding=self.predictor.findings[target],
                    method=method,
                    probability=float(probabilities[target]),
                    values=values,
                    peak=peak,
                )
            )
        return tuple(heat_maps)

    @property
    def chain(self) -> Chain:
        """The deterministic steps from a radiograph to the network's input."""
        return Chain((*self.predictor.prefix.steps, *self.predictor.suffix.steps))

    def target_layer(self, inputs: Tensor) -> str:
        """Name of the layer Grad-CAM reads."""
        return find_target_layer(self.network, inputs)

    def _targets(self, findings: Sequence[str] | None, most_probable: list[int]) -> list[int]:
        if findings is None:
            return most_probable
        known = self.predictor.findings
        require(len(findings) > 0, "findings", "None or at least one name", list(findings))
        return [known.index(canonical_finding(name, known)) for name in findings]

    def _grad_cam(self, inputs: Tensor, targets: list[int]) -> Tensor:
        """Evidence (target, h, w) in the resolution of the last feature map."""
        layer = self.network.get_submodule(self.target_layer(inputs))
        grad_cam = _captum().LayerGradCam(self.network, layer)
        with torch.enable_grad():
            found: Tensor = grad_cam.attribute(
                inputs.expand(len(targets), -1, -1, -1), target=targets, relu_attributions=True
            )
        return found[:, 0].detach()

    def _occlusion(self, inputs: Tensor, targets: list[int]) -> Tensor:
        """Evidence (target, H, W): the mean fall of the logit while a place was covered.

        Covered with the image's own mean grey, which hides structure and adds the fewest edges.
        """
        sides = [max(1, round(side / _WINDOWS_PER_SIDE)) for side in inputs.shape[2:]]
        strides = [max(1, side // 2) for side in sides]
        occlusion = _captum().Occlusion(self.network)
        maps = [
            occlusion.attribute(
                inputs,
                sliding_window_shapes=(inputs.shape[1], *sides),
                strides=(inputs.shape[1], *strides),
                baselines=inputs.mean(dim=(2, 3), keepdim=True).expand_as(inputs),
                target=target,
                perturbations_per_eval=self.predictor.batch_size,
            )[:, 0]
            for target in targets
        ]
        return torch.cat(maps).detach()


def _captum() -> Any:
    try:
        import captum.attr
    except ImportError as error:
        raise MissingDependencyError(
            "Explanations need captum, which is not installed. Hint: pip install hilum[explain]"
        ) from error
    return captum.attr
