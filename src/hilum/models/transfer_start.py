"""A loaded network with a new head, as a value that training starts from: the paper's recipe.

The network is cut, what comes out is averaged over the image, then dropout and a linear layer with
one output per finding. The value holds the tensors to start with and, as JSON, how every rank and
every server builds the network again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from hilum.errors import InvalidValueError, require
from hilum.models.architectures import ARCHITECTURES, Architecture
from hilum.models.architectures import architecture as find_architecture
from hilum.models.cutting import cut as cut_model
from hilum.models.inspection import output_shapes
from hilum.models.named_nodes import NamedGraph, named_graph
from hilum.models.node_names import names_of_2019
from hilum.models.recipes import (
    CutRecipe,
    GraphRecipe,
    LoadedModel,
    PixelContract,
    TransferRecipe,
    library_name,
)
from hilum.models.topologies import TOPOLOGIES
from hilum.models.transfer import create_model, head_names
from hilum.models.weights import WeightsReport

__all__ = ["TransferStart", "architecture_of", "transfer"]

_TRUNK = "trunk."
_HEAD = "head"


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferStart:
    """Where transfer learning begins.

    Attributes:
        architecture: builds the network, its head called "head"; its `recipe` is JSON.
        findings: outputs of the head.
        tensors: of everything but the head, by the names they have in the network.
        report: where they came from.
        pixels: what the network wants to see.
        dropout: probability of dropping a feature before the head.
        head_weight_decay: of the head alone; 2019's `L2Regularizer(l2)` on it has the gradient
            l2 * w, so it is the same number.
        frozen: names of parameters that were frozen and shall not learn.
    """

    architecture: Architecture
    findings: int
    tensors: Mapping[str, Tensor] = field(repr=False, compare=False)
    report: WeightsReport
    pixels: PixelContract
    dropout: float
    head_weight_decay: float
    frozen: tuple[str, ...] = field(default=(), repr=False)

    def build(self, num_outputs: int | None = None, *, seed: int = 0) -> nn.Module:
        """Return the network with its start weights, ready for `set_train_mode`.

        Args:
            num_outputs: logits per image; None for `findings`.
            seed: of the head's weights, which are Xavier-uniform (2019: glorot_uniform), bias 0.

        Raises:
            InvalidValueError: a tensor has no place in the network, or a place no tensor.
        """
        model = create_model(self.architecture, num_outputs or self.findings, dropout=self.dropout)
        head = head_names(self.architecture)
        fit = model.load_state_dict(dict(self.tensors), strict=False)
        astray = [*fit.unexpected_keys, *(n for n in fit.missing_keys if n not in head)]
        require(not astray, "tensors", "those of the network before its head", astray[:3])
        weight, bias = (model.get_parameter(name) for name in head)
        nn.init.xavier_uniform_(weight, generator=torch.Generator().manual_seed(seed))
        nn.init.zeros_(bias)
        for name in self.frozen:
            model.get_parameter(name).requires_grad_(False)
        return model


def transfer(
    loaded: LoadedModel,
    findings: int = 14,
    *,
    cut: str | None = None,
    dropout: float = 0.2,
    l2: float = 0.0,
) -> TransferStart:
    """Give a network a new head for the findings; the network stays as it is.

    Args:
        loaded: from `load` or `cut`.
        findings: outputs of the head, one logit per finding.
        cut: the node whose values the head reads: (N, features), or (N, features, H, W), which is
            averaged over H and W. None is where a network that was cut ends, the place in
            `TOPOLOGIES` for those listed there, and else what the last linear layer reads.
        dropout: probability of dropping a feature before the head; the paper used 0.2.
        l2: weight decay of the head.

    Raises:
        InvalidValueError: an argument breaks its rule, or the values at the cut are not features.
    """
    require(findings >= 1, "findings", "at least 1", findings)
    require(0 <= dropout < 1, "dropout", "at least 0 and below 1", dropout)
    require(l2 >= 0, "l2", "at least 0", l2)
    place = cut if cut is not None else _default_cut(loaded)
    trunk = loaded if place is None else cut_model(loaded, place)
    recipe = TransferRecipe(of=trunk.recipe, features=_num_features(trunk), findings=findings)
    tensors = {f"{_TRUNK}{n}": t.detach() for n, t in trunk.network.state_dict().items()}
    learns = {f"{_TRUNK}{name}": p.requires_grad for name, p in trunk.network.named_parameters()}
    return TransferStart(
        architecture=architecture_of(recipe, loaded.pixels, Path(loaded.report.source).name),
        findings=findings,
        # Whoever trains or frees the loaded network later must not change what training starts
        # from. What was cut here is a copy already.
        tensors={n: t.clone() for n, t in tensors.items()} if trunk is loaded else tensors,
        report=loaded.report,
        pixels=loaded.pixels,
        dropout=dropout,
        head_weight_decay=l2,
        frozen=tuple(name for name, wanted in learns.items() if not wanted),
    )


def architecture_of(
    recipe: TransferRecipe, pixels: PixelContract | None = None, file: str = ""
) -> Architecture:
    """The architecture that a recipe builds, for everything that takes one.

    Args:
        recipe: from `transfer`, or from JSON.
        pixels: what it wants to see; what it leaves open is taken from the network of torchvision
            or timm that it was made from, or else from ImageNet.
        file: name of the file it came from, by which reports call it.
    """
    library = library_name(recipe)
    origin = find_architecture(library) if library else ARCHITECTURES["resnet50"]
    wants = pixels or PixelContract()
    size_px = wants.size_px[0] if wants.size_px else origin.image_size_px
    return Architecture(
        name=_name_of(recipe, library_name(recipe) or file or "network"),
        build=partial(_build_at_random, recipe),
        head=_HEAD,
        mean=_three(wants.mean) or origin.mean,
        std=_three(wants.std) or origin.std,
        image_size_px=size_px,
        recipe=recipe,
    )


def _name_of(recipe: TransferRecipe, origin: str) -> str:
    of = recipe.of
    if isinstance(of, GraphRecipe):
        return f"{origin} at {', '.join(of.spec.outputs)}"
    return f"{origin} at {', '.join(of.at)}" if isinstance(of, CutRecipe) else origin


def _three(values: tuple[float, ...] | None) -> tuple[float, float, float] | None:
    if values is None or len(values) not in (1, 3):
        return None
    return values if len(values) == 3 else (values[0],) * 3


def _build_at_random(recipe: TransferRecipe) -> nn.Module:
    """The network as PyTorch starts its layers, from the global generator.

    Recipes build zeros; somebody who asks for a random start would train nothing with them.
    """
    model = recipe.build()
    for module in model.modules():
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
    return model


def _default_cut(loaded: LoadedModel) -> str | None:
    if isinstance(loaded.recipe, CutRecipe):
        return None
    library = library_name(loaded.recipe)
    topology = TOPOLOGIES.get(library.removeprefix("torchvision:"))
    if topology is not None:
        return topology.cut
    named = named_graph(loaded.network, names_of_2019(library))
    name = _before_last_linear(loaded.network, named)
    if name is None:
        raise InvalidValueError(
            "cut must be given for a network that does not end in a linear layer. Got None. "
            "Hint: `nodes` lists the names."
        )
    return name


def _before_last_linear(network: nn.Module, named: NamedGraph) -> str | None:
    """What the last linear layer reads, where nothing but that one has parameters after it."""
    names = {node: name for name, node in named.nodes.items()}
    for node in reversed(list(named.nodes.values())):
        if node.op != "call_module":
            continue
        layer = network.get_submodule(str(node.target))
        if isinstance(layer, nn.Linear):
            return names.get(node.all_input_nodes[0])
        if any(True for _ in layer.parameters()):
            return None
    return None


def _num_features(trunk: LoadedModel) -> int:
    shapes = output_shapes(trunk)
    is_feature_map = len(shapes) == 1 and len(shapes[0]) in (1, 3)
    require(
        is_feature_map,
        "cut",
        "one node with (N, features) or (N, features, H, W)",
        [("N", *shape) for shape in shapes],
        hint="`nodes` lists the shapes",
    )
    return shapes[0][0]
