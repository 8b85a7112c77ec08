"""Freezing: parts of a network that keep their weights, and really stay as they are.

What is frozen is written in one place, `requires_grad` of the parameters: the optimizer, the
all-reduce and `set_train_mode` all read it there. A frozen layer then costs no backward pass, its
BatchNorm statistics do not drift, and its output is the same in every epoch, so it can be cached.
(The 2019 system scaled gradients by zero, at full cost and with moving statistics.)
"""

from collections.abc import Collection

from torch import fx, nn

from hilum.errors import require
from hilum.models.architectures import Architecture
from hilum.models.transfer import head_names

__all__ = ["BACKBONE", "freeze_batch_norm", "freeze_layers", "set_train_mode"]

BACKBONE = "backbone"
"""The name that stands for everything before the head."""

_MAX_SHOWN = 24
_TRUNK = "trunk"  # what `transfer` calls the network before the head
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def freeze_layers(
    model: nn.Module,
    architecture: Architecture | str,
    layer: str,
    *,
    also: Collection[str] = (),
) -> None:
    """Freeze a network up to and including a layer, and let everything after it learn.

    "Up to" follows the order in which the layers are registered, which is the order of the forward
    pass in the networks of torchvision and timm. In a network of named nodes (from a file, or cut)
    it is the layer and all it is computed from; branches beside it learn. Follow with
    `set_train_mode` instead of `model.train()`.

    Args:
        model: a network of `create_model`, whatever is frozen in it now.
        architecture: what it is a network of.
        layer: "" freezes nothing; "backbone" all but the head; else the dotted name of a module,
            without "trunk." where that alone is missing.
        also: parameters that are frozen in any case.

    Raises:
        InvalidValueError: no such layer or parameter, or one behind which nothing is left to learn.
    """
    head = head_names(architecture)
    named = {name for name, _ in model.named_parameters()} - set(head)
    strange = sorted(set(also) - named)
    require(not strange, "frozen", "parameters before the head", ", ".join(strange[:3]))
    if layer == BACKBONE:
        require(bool(head), "freeze", "the name of a layer where there is no new head", layer)
        frozen = named
    else:
        frozen = _parameters_up_to(model, layer, head)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in frozen and name not in also)


def freeze_batch_norm(model: nn.Module) -> None:
    """Freeze scale, shift and statistics of every batch normalisation; for small local batches."""
    for module in model.modules():
        if isinstance(module, _BATCH_NORMS):
            module.requires_grad_(False)


def set_train_mode(model: nn.Module) -> None:
    """Put the trainable layers into training mode and the frozen ones into evaluation mode.

    A layer without parameters goes with the next layer that has some, in the order of
    registration: dropout between frozen layers is off, dropout before the new head is on.
    """
    model.train()
    next_trains = True
    for module in reversed(list(model.modules())):
        own = list(module.parameters(recurse=False))
        if own:
            next_trains = any(parameter.requires_grad for parameter in own)
        if any(True for _ in module.parameters()):
            module.training = any(parameter.requires_grad for parameter in module.parameters())
        else:
            module.training = next_trains


def _parameters_up_to(model: nn.Module, layer: str, head: tuple[str, ...]) -> set[str]:
    if layer == "":
        return set()
    modules = [name for name, _ in model.named_modules()]
    if layer not in modules and f"{_TRUNK}.{layer}" in modules:
        layer = f"{_TRUNK}.{layer}"
    require(
        layer in modules,
        "freeze",
        f"'', '{BACKBONE}' or a layer of the network, such as {', '.join(_shown(model))}",
        layer,
        hint="a dotted name goes deeper, as in layer3.0",
    )
    reached = _computed_from(model, layer)
    if reached:
        frozen = {name for name, _ in model.named_parameters() if reached & set(_holders(name))}
    else:  # modules come in registration order, each before its parts
        last = max(i for i, name in enumerate(modules) if f"{name}.".startswith(f"{layer}."))
        frozen = {
            f"{name}.{own}" if name else own
            for name in modules[: last + 1]
            for own, _ in model.get_submodule(name).named_parameters(recurse=False)
        }
    left = [name for name, _ in model.named_parameters() if name not in frozen]
    require(
        any(name in left for name in head) if head else bool(left),
        "freeze",
        "a layer before the head, or nothing would learn",
        layer,
        hint=f"'{BACKBONE}' freezes all but the head",
    )
    return frozen


def _shown(model: nn.Module) -> list[str]:
    names = _main_layers(model)
    return names if len(names) <= _MAX_SHOWN else [*names[:_MAX_SHOWN], "..."]


def _computed_from(model: nn.Module, layer: str) -> set[str]:
    """Names of what a node of a graph is computed from, itself included; empty for no node."""
    prefix, graph = "", model
    if not isinstance(model, fx.GraphModule) and layer.startswith(f"{_TRUNK}."):
        prefix, graph = f"{_TRUNK}.", model.get_submodule(_TRUNK)
    part = layer.removeprefix(prefix)
    if not isinstance(graph, fx.GraphModule):
        return set()
    left = [
        node
        for node in graph.graph.nodes
        if node.op == "call_module" and f"{node.target}.".startswith(f"{part}.")
    ]
    found: set[fx.Node] = set()
    while left:
        node = left.pop()
        if node not in found:
            found.add(node)
            left += node.all_input_nodes
    return {f"{prefix}{node.target}" for node in found if node.op in ("call_module", "get_attr")}


def _holders(name: str) -> list[str]:
    """A parameter's own name and those of the modules that hold it."""
    parts = name.split(".")
    return [".".join(parts[: end + 1]) for end in range(len(parts))]


def _main_layers(model: nn.Module) -> list[str]:
    """Names a person would freeze up to: the children with parameters, one level into containers.

    A network of one long container (DenseNet's `features`) is listed by the parts of that.
    """
    names = []
    for name, child in model.named_children():
        parts = [part for part, _ in child.named_children()]
        opened = isinstance(child, nn.Sequential | fx.GraphModule) and not all(
            part.isdigit() for part in parts
        )
        inside = [(f"{name}.{part}", module) for part, module in child.named_children()]
        for path, module in inside if opened else [(name, child)]:
            if any(True for _ in module.parameters()):
                names.append(path)
    return names[:-1]  # the head comes last
