"""A network in two: the part that is frozen, and the rest, which learns.

What a frozen part makes of an image does not change, so it need not be computed twice. The cut is
the last single tensor, in the order of the forward pass, behind which everything that learns (or
draws dropout) lies. Both parts use the layers of the network itself: who trains the rest trains
the network. The graph is traced with torch.fx, so that the cut may lie inside any block; networks
it cannot trace are still cut where everything but the head is frozen.
"""

import copy
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import fx, nn

from hilum.errors import InvalidValueError, require
from hilum.models.architectures import Architecture
from hilum.models.transfer import head_names

__all__ = ["LayerTracer", "Split", "split_at", "split_frozen", "trace"]

_BEFORE = "before "  # the head of a network that cannot be traced


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """A network taken apart; `rest(prefix(images))` is what it computes.

    Attributes:
        prefix: from images (N, C, H, W) to features (N, ...); nothing in it learns.
        rest: from features to logits (N, output).
        layer: where the features come out, as `split_at` takes it.
    """

    prefix: nn.Module
    rest: nn.Module
    layer: str


def split_frozen(model: nn.Module, architecture: Architecture | str | None = None) -> Split:
    """Cut a network behind its frozen part; `set_train_mode` must have been called.

    Layers that are frozen but lie behind the cut (one branch of a block that learns) stay in the
    rest and are computed each time, in evaluation mode as before.

    Args:
        model: the network, frozen with `freeze_layers`.
        architecture: what it is a network of; with it, one that cannot be traced is cut before
            its head if the head alone learns. Dropout before the head then lies in the prefix.

    Raises:
        InvalidValueError: nothing is frozen up to one point, or torch.fx cannot follow the
            network's Python code. The message says which.
    """
    try:
        nodes = _steps(model)
    except InvalidValueError:
        learns = {name for name, p in model.named_parameters() if p.requires_grad}
        if architecture is None or not learns <= set(head_names(architecture)):
            raise
        return _split_before_head(model, head_names(architecture)[0].removesuffix(".1.weight"))
    fixed = _fixed_nodes(model, nodes)
    (image,) = [node for node in nodes if node.op == "placeholder"][:1]
    for cut in reversed(nodes):
        if cut not in fixed or cut is image:
            continue
        needed = _needed(nodes[-1], stop=cut)
        if image not in needed:
            split = _split_behind(model, nodes, cut)
            if not any(True for _ in split.prefix.parameters()):
                break  # it only turns or views the image
            return split
    raise InvalidValueError(
        f"the network must be frozen up to one point of its forward pass. Got {_describe(model)}. "
        "Hint: freeze whole blocks from the input on, such as 'backbone' or 'layer3'."
    )


def split_at(model: nn.Module, layer: str) -> Split:
    """Cut another network of the same architecture where `split_frozen` cut the first.

    Args:
        layer: `Split.layer` of the first.
    """
    if layer.startswith(_BEFORE):
        return _split_before_head(model, layer.removeprefix(_BEFORE))
    nodes = _steps(model)
    return _split_behind(model, nodes, next(node for node in nodes if node.name == layer))


def trace(model: nn.Module) -> fx.Graph:
    """Return the graph of a network's forward pass; modules without parts of their own are nodes.

    Raises:
        InvalidValueError: its Python code decides by the values in tensors.
    """
    try:
        return LayerTracer().trace(model)
    except Exception as error:  # whatever the network's code raises when it meets a proxy
        raise InvalidValueError(
            "the network must be one that torch.fx can trace. "
            f"Got {type(model).__name__}: {type(error).__name__}: {error}"
        ) from error


def _steps(model: nn.Module) -> list[fx.Node]:
    """The network's graph in its order; raises where a part could miss a step it needs."""
    nodes = list(trace(model).nodes)
    ends = [node for node in nodes if node.op == "output" or node.target is torch._assert]
    read = set[fx.Node]().union(*map(_needed, ends))
    lost = [node for node in nodes if node not in read and not _only_looks(node)]
    require(
        not lost,
        "the network",
        "one whose steps are all read, to be split",
        ", ".join(node.name for node in lost),
    )
    return nodes


def _only_looks(node: fx.Node) -> bool:
    """Whether a step surely changes nothing in place: of `y += 1` torch.fx shows an addition."""
    if node.op in ("call_function", "call_method"):
        return getattr(node.target, "__name__", node.target) in _LOOKS
    return node.op != "call_module"


_LOOKS = ("eq", "ge", "getattr", "getitem", "gt", "le", "lt", "ne", "size")


def _split_behind(model: nn.Module, nodes: list[fx.Node], cut: fx.Node) -> Split:
    return Split(
        prefix=_part(model, nodes, _needed(cut), ends=cut),
        rest=_part(model, nodes, _needed(nodes[-1], stop=cut), begins=cut),
        layer=cut.name,
    )


class LayerTracer(fx.Tracer):
    """Looks into everything but single layers."""

    def is_leaf_module(self, module: nn.Module, module_qualified_name: str) -> bool:
        """Do not look into simple layers, nor into batch norms: their code asks for the mode."""
        return (
            not any(True for _ in module.children())
            or isinstance(module, nn.modules.batchnorm._BatchNorm)
            or super().is_leaf_module(module, module_qualified_name)
        )


def _fixed_nodes(model: nn.Module, nodes: Iterable[fx.Node]) -> set[fx.Node]:
    """Nodes whose value is a function of the image alone, the same in every epoch."""
    fixed: set[fx.Node] = set()
    for node in nodes:
        if node.op == "placeholder" or (
            node.op != "output"
            and all(source in fixed for source in node.all_input_nodes)
            and _is_fixed(model, node)
        ):
            fixed.add(node)
    return fixed


def _is_fixed(model: nn.Module, node: fx.Node) -> bool:
    if node.op == "call_module":
        return _module_is_fixed(model.get_submodule(str(node.target)))
    if node.op == "get_attr":
        owner, _, name = str(node.target).rpartition(".")
        value = getattr(model.get_submodule(owner), name)
        return not getattr(value, "requires_grad", False)
    # F.dropout(x, p, training=True), scaled_dot_product_attention(..., dropout_p=0.1)
    return node.kwargs.get("training") is not True and not node.kwargs.get("dropout_p")


def _module_is_fixed(module: nn.Module) -> bool:
    if any(parameter.requires_grad for parameter in module.parameters()):
        return False
    return not any(part.training and _asks_for_mode(part) for part in module.modules())


def _asks_for_mode(module: nn.Module) -> bool:
    """Whether its forward reads `self.training`: dropout of any library does, pooling does not."""
    code = getattr(type(module).forward, "__code__", None)
    return code is None or "training" in code.co_names


def _needed(end: fx.Node, stop: fx.Node | None = None) -> set[fx.Node]:
    """All nodes the value of `end` depends on, itself included, looking no further than `stop`."""
    found: set[fx.Node] = set()
    open_nodes = [end]
    while open_nodes:
        node = open_nodes.pop()
        if node not in found:
            found.add(node)
            open_nodes += [] if node is stop else node.all_input_nodes
    return found


def _part(
    model: nn.Module,
    nodes: Iterable[fx.Node],
    needed: set[fx.Node],
    *,
    begins: fx.Node | None = None,
    ends: fx.Node | None = None,
) -> fx.GraphModule:
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    if begins is not None:
        copies[begins] = graph.placeholder("features")
    for node in nodes:
        if node in needed and node not in copies:
            copies[node] = graph.node_copy(node, copies.__getitem__)
    if ends is not None:
        graph.output(copies[ends])
    return fx.GraphModule(model, graph)


def _split_before_head(model: nn.Module, head: str) -> Split:
    """Cut by replacing the head, in copies of the modules that hold it; layers stay shared."""
    *path, name = head.split(".")
    prefix = holder = _shallow_copy(model)
    for step in path:
        inner = _shallow_copy(holder.get_submodule(step))
        holder._modules[step] = inner
        holder = inner
    holder._modules[name] = nn.Identity()
    return Split(prefix=prefix, rest=model.get_submodule(head), layer=f"{_BEFORE}{head}")


def _shallow_copy(module: nn.Module) -> nn.Module:
    copied = copy.copy(module)
    copied._modules = dict(module._modules)
    return copied


def _describe(model: nn.Module) -> str:
    parameters = list(model.parameters())
    frozen = sum(not parameter.requires_grad for parameter in parameters)
    return f"{type(model).__name__} with {frozen} of {len(parameters)} tensors frozen"
