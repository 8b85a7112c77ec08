"""What a network consists of: its nodes with shapes, parameters and arithmetic.

Nothing is computed: shapes are followed on PyTorch's meta device, which costs a fraction of a
second for any network and image size. Multiply-adds are those of convolutions, matrix products and
attention, half of what PyTorch's FlopCounterMode counts, and the unit of published tables;
normalisation, activation and pooling are left out, as they are there.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils.flop_counter import FlopCounterMode

from hilum.errors import InvalidValueError
from hilum.models.architectures import architecture
from hilum.models.graph import GraphNetwork
from hilum.models.named_nodes import NamedGraph, modules_around, named_graph
from hilum.models.node_names import names_of_2019
from hilum.models.recipes import LibraryRecipe, LoadedModel, library_name
from hilum.models.weights import WeightsReport

__all__ = ["NodeInfo", "blueprint", "image_shape_of", "nodes", "output_shapes"]

_SIZE_PX = 224
_CHANNELS = 3

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeInfo:
    """One value a network computes.

    Attributes:
        name: what `cut` and `freeze` call it.
        layer: class of the layer, or name of the function.
        shape: of the value for one image, without the batch: (C, H, W); of the first of several.
        parameters: numbers the layer has learnt; a layer used twice counts where it comes first.
        multiply_adds: for one image; an addition with its multiplication is one.
        frozen: whether none of its parameters learns; None if it has none.
        inputs: names of the nodes it reads; an input of the network is "input".
        modules: (path, class) of the modules it lies in, the outermost first.
    """

    name: str
    layer: str
    shape: Shape
    parameters: int
    multiply_adds: int
    frozen: bool | None
    inputs: tuple[str, ...]
    modules: tuple[tuple[str, str], ...]


def nodes(loaded: LoadedModel, image_shape: Sequence[int] | None = None) -> tuple[NodeInfo, ...]:
    """List the nodes of a network in the order of its forward pass; it stays as it is.

    Args:
        loaded: a network with one input.
        image_shape: (C, H, W) of an image; None for what the network was made for.

    Raises:
        InvalidValueError: the network's code cannot be followed, or takes no such images.
    """
    named = named_graph(loaded.network, names_of_2019(library_name(loaded.recipe)))
    run = _follow(loaded.network, named, _shape(loaded, image_shape))
    counted: set[int] = set()
    return tuple(
        _info(loaded.network, named, run, name, counted)
        for name in named.nodes
        if name in run.shapes
    )


def blueprint(name: str) -> LoadedModel:
    """A network of torchvision or timm to look at, without weights: its parameters are zero.

    Raises:
        InvalidValueError: no such network; the message lists the known ones.
        MissingDependencyError: timm is needed and not installed.
    """
    recipe = LibraryRecipe(name)
    report = WeightsReport(source="", kind="random", note="a blueprint: all parameters are zero")
    return LoadedModel(network=recipe.build().eval(), recipe=recipe, report=report)


def output_shapes(
    loaded: LoadedModel, image_shape: Sequence[int] | None = None
) -> tuple[Shape, ...]:
    """Shapes of what a network returns, without the batch: one, or several for a tuple.

    Raises:
        InvalidValueError: as `nodes`.
    """
    named = named_graph(loaded.network)
    return _follow(loaded.network, named, _shape(loaded, image_shape)).outputs


def image_shape_of(loaded: LoadedModel) -> Shape:
    """(C, H, W) of the images a network was made for, 224 px where nothing says so."""
    library = library_name(loaded.recipe)
    size = loaded.pixels.size_px
    if size is None:
        size = (architecture(library).image_size_px,) * 2 if library else (_SIZE_PX, _SIZE_PX)
    return (_num_channels(loaded.network), *size)


def _shape(loaded: LoadedModel, image_shape: Sequence[int] | None) -> Shape:
    return image_shape_of(loaded) if image_shape is None else tuple(image_shape)


def _num_channels(network: nn.Module) -> int:
    convolutions = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    first = next((m for m in network.modules() if isinstance(m, convolutions)), None)
    return first.in_channels if first is not None else _CHANNELS


class _Run(fx.Interpreter):
    """Runs a graph and keeps shape and arithmetic of every named node."""

    def __init__(self, network: nn.Module, named: NamedGraph) -> None:
        super().__init__(network, graph=named.graph)
        self.names = {node: name for name, node in named.nodes.items()}
        self.counter = FlopCounterMode(display=False)
        self.shapes: dict[str, Shape] = {}
        self.multiply_adds: dict[str, int] = {}
        self.outputs: tuple[Shape, ...] = ()

    def run_node(self, n: fx.Node) -> Any:
        before = self.counter.get_total_flops()
        value = super().run_node(n)
        name = self.names.get(n)
        values = value if isinstance(value, tuple | list) else (value,)
        tensors = [v for v in values if isinstance(v, Tensor)]
        if n.op == "output":
            self.outputs = tuple(tuple(v.shape[1:]) for v in tensors)
        elif name is not None and tensors:
            whole = n.op == "get_attr"  # a parameter has no batch
            self.shapes[name] = tuple(tensors[0].shape if whole else tensors[0].shape[1:])
            self.multiply_adds[name] = (self.counter.get_total_flops() - before) // 2
        return value


def _follow(network: nn.Module, named: NamedGraph, image_shape: Shape) -> _Run:
    kinds = (p.dtype for p in network.parameters() if p.is_floating_point())
    image = torch.empty(1, *image_shape, device="meta", dtype=next(kinds, torch.float32))
    try:
        return _run(_on_meta(network), named, image)
    except Exception as error:  # a layer without shape inference, one that asks for values, ...
        if isinstance(network, GraphNetwork):
            # All layers of files have shape inference. To run one that fails would take the memory
            # that a crafted file claims.
            raise _not_taken(image_shape, error) from error
    modes = [module.training for module in network.modules()]
    try:
        return _run(network.eval(), named, torch.zeros_like(image, device="cpu"))
    except Exception as error:  # whatever layers raise for images they do not take
        raise _not_taken(image_shape, error) from error
    finally:
        for module, mode in zip(network.modules(), modes, strict=True):
            module.training = mode


def _not_taken(image_shape: Shape, error: Exception) -> InvalidValueError:
    return InvalidValueError(
        f"image_shape must be one the network takes. Got {image_shape}: "
        f"{type(error).__name__}: {error}"
    )


def _run(network: nn.Module, named: NamedGraph, image: Tensor) -> _Run:
    run = _Run(network, named)
    with torch.no_grad(), run.counter:
        run.run(image)
    return run


def _on_meta(network: nn.Module) -> nn.Module:
    """A copy in evaluation mode without any numbers; tensors are replaced while copying."""
    memo: dict[int, Any] = {}
    for parameter in network.parameters():
        memo[id(parameter)] = nn.Parameter(
            torch.empty_like(parameter, device="meta"), requires_grad=False
        )
    for buffer in network.buffers():
        memo[id(buffer)] = torch.empty_like(buffer, device="meta")
    return copy.deepcopy(network, memo).eval()


def _info(
    network: nn.Module, named: NamedGraph, run: _Run, name: str, counted: set[int]
) -> NodeInfo:
    node = named.nodes[name]
    own = _parameters(network, node)
    fresh = [parameter for parameter in own if id(parameter) not in counted]
    counted |= {id(parameter) for parameter in own}
    return NodeInfo(
        name=name,
        layer=_layer(network, node),
        shape=run.shapes[name],
        parameters=sum(parameter.numel() for parameter in fresh),
        multiply_adds=run.multiply_adds[name],
        frozen=not any(parameter.requires_grad for parameter in own) if own else None,
        inputs=_sources(node, run),
        modules=modules_around(node),
    )


def _parameters(network: nn.Module, node: fx.Node) -> list[nn.Parameter]:
    if node.op == "call_module":
        return list(network.get_submodule(str(node.target)).parameters())
    if node.op == "get_attr":
        return [p for name, p in network.named_parameters() if name == node.target]
    return []


def _layer(network: nn.Module, node: fx.Node) -> str:
    if node.op == "call_module":
        return type(network.get_submodule(str(node.target))).__name__
    if node.op == "get_attr":
        return "parameter"
    return str(getattr(node.target, "__name__", node.target)).split(".")[0]


def _sources(node: fx.Node, run: _Run) -> tuple[str, ...]:
    """Names of the nodes whose values go in; sizes and other numbers are left out."""
    found: dict[str, None] = {}
    for source in node.all_input_nodes:
        name = "input" if source.op == "placeholder" else run.names.get(source, "")
        if source.op == "placeholder" or name in run.shapes:
            found[name] = None
    return tuple(found)
