"""The module that a `NetworkSpec` describes."""

import keyword
from unicodedata import normalize

import torch
from torch import fx, nn

from hilum.errors import HilumError, InvalidValueError, require
from hilum.models.graph.layers import LAYERS, argument_names
from hilum.models.graph.spec import NetworkSpec, Node

__all__ = ["MAX_PARAMETERS", "GraphNetwork", "is_taken"]

MAX_PARAMETERS = 4_000_000_000
"""More than any network for images has; a damaged file easily claims more."""


class GraphNetwork(fx.GraphModule):
    """Runs the nodes of a spec in their order; each node is the child module of its name.

    `forward` takes as many tensors as the spec has inputs and returns a tensor, or a tuple where
    the spec has several outputs. Parameters start as PyTorch starts the layers, until a state dict
    replaces them. It is code that torch.fx wrote, so a value nobody reads any more is let go.

    Raises:
        InvalidValueError: an unknown layer, options it does not take, absurdly many parameters, or
            a node whose name is one that every module has, such as "forward".
    """

    def __init__(self, spec: NetworkSpec) -> None:
        for name in spec.names():
            require(not is_taken(name), "name of a node", "no attribute or keyword of Python", name)
        with torch.device("meta"):  # nothing is allocated before the sizes are known to be sane
            size = sum(p.numel() for node in spec.nodes for p in _build(node).state_dict().values())
        require(size <= MAX_PARAMETERS, "parameters", f"at most {MAX_PARAMETERS:,}", f"{size:,}")
        layers = {node.name: _build(node) for node in spec.nodes}
        super().__init__(layers, _graph(spec), "GraphNetwork")
        self.spec = spec


def is_taken(name: str) -> bool:
    """Whether a node cannot have this name, because every module has it or Python reads it."""
    # Python reads "\ufb01" in code as "fi".
    return keyword.iskeyword(name) or name in _TAKEN or normalize("NFKC", name) != name


_TAKEN = frozenset(dir(fx.GraphModule(nn.Module(), fx.Graph()))) | {"spec", "self"}


def _graph(spec: NetworkSpec) -> fx.Graph:
    graph = fx.Graph()
    values = {name: graph.placeholder(f"input_{i}") for i, name in enumerate(spec.inputs)}
    for node in spec.nodes:
        read = tuple(values[name] for name in node.inputs)
        values[node.name] = graph.call_module(node.name, read)
    outputs = tuple(values[name] for name in spec.outputs)
    graph.output(outputs[0] if len(outputs) == 1 else outputs)
    return graph


def _build(node: Node) -> nn.Module:
    require(
        node.layer in LAYERS,
        f"layer of node {node.name!r}",
        f"one of {', '.join(sorted(LAYERS))}",
        node.layer,
    )
    _require_known(node)
    try:
        return LAYERS[node.layer](**node.options)
    except HilumError:
        raise
    # What a layer raises for options that make no sense is up to PyTorch.
    except Exception as error:
        raise InvalidValueError(
            f"options of node {node.name!r} must be those of {node.layer}. "
            f"Got {dict(node.options)}: {error}"
        ) from error


def _require_known(node: Node) -> None:
    """A device, above all, would be filled before the sizes are known to be sane."""
    known = argument_names(LAYERS[node.layer])
    extra = sorted(set(node.options) - set(known))
    require(
        not extra,
        f"options of node {node.name!r}",
        f"those of {node.layer} ({', '.join(known)})",
        ", ".join(extra),
    )
