"""The nodes of a network's forward pass, by names, and networks that end at some of them.

A node is one value that the network computes. It is called as the module that computes it,
"layer4.2.conv3"; a function is called after the module whose code calls it, "layer4.2.add"; what
occurs again gets a number, "layer4.2.relu_2", as in torchvision's feature extraction. A module with
parts, "layer4", stands for what it returns. In a `GraphNetwork` nodes have the names of the file.

Where the Python code of some block decides by the values in tensors, torch.fx cannot follow it;
that block then is one node. The names stay with the nodes when a network is cut.
"""

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, cast

from torch import fx, nn

from hilum.errors import InvalidValueError
from hilum.models.graph import GraphNetwork
from hilum.models.splitting import LayerTracer

__all__ = ["NamedGraph", "cut_network", "modules_around", "named_graph"]

_NAME, _RETURNED_BY, _STACK = "hilum_name", "hilum_returned_by", "nn_module_stack"
_NO_ALIASES: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NamedGraph:
    """A forward pass whose values have names.

    Attributes:
        graph: of torch.fx.
        nodes: the values by name, in the order they are computed; no inputs, no outputs.
        modules: for a module with parts, what it returned when it was last called.
        aliases: other names, such as those of 2019, for names of `nodes` or `modules`.
    """

    graph: fx.Graph
    nodes: Mapping[str, fx.Node]
    modules: Mapping[str, fx.Node]
    aliases: Mapping[str, str]

    def find(self, name: str) -> fx.Node:
        """Look up a node by its name, a module's or an alias.

        Raises:
            InvalidValueError: no such node; the message lists those with similar names.
        """
        for known in (name, self.aliases.get(name, "")):
            for table in (self.nodes, self.modules):
                if known in table:
                    return table[known]
        names = [*self.nodes, *self.modules, *self.aliases]
        close = get_close_matches(name, names, n=5, cutoff=0.4) or list(self.nodes)[-5:]
        raise InvalidValueError(
            f"node must be one of {', '.join(close)}, ... ({len(self.nodes)} in all). "
            f"Got {name!r}. Hint: `nodes` lists them."
        )

    def needed_for(self, ends: Iterable[fx.Node]) -> set[fx.Node]:
        """The nodes these depend on, themselves included."""
        found: set[fx.Node] = set()
        open_nodes = list(ends)
        while open_nodes:
            node = open_nodes.pop()
            if node not in found:
                found.add(node)
                open_nodes += node.all_input_nodes
        return found


def named_graph(network: nn.Module, aliases: Mapping[str, str] = _NO_ALIASES) -> NamedGraph:
    """Follow a network's forward pass and name what it computes; the network stays as it is.

    Raises:
        InvalidValueError: torch.fx cannot follow the outermost code of the network.
    """
    if isinstance(network, fx.GraphModule):
        graph = network.graph
        if not any(_NAME in node.meta for node in graph.nodes):
            _name(graph, _last_inside(graph))
    else:
        tracer = _NamingTracer()
        try:
            graph = tracer.trace(network)
        except Exception as error:  # whatever the network's code raises when it meets a proxy
            raise InvalidValueError(
                "the network must be one that torch.fx can trace. "
                f"Got {type(network).__name__}: {type(error).__name__}: {error}"
            ) from error
        _name(graph, tracer.returned)
    named = [node for node in graph.nodes if _NAME in node.meta]
    return NamedGraph(
        graph=graph,
        nodes={node.meta[_NAME]: node for node in named},
        modules={path: node for node in named for path in node.meta[_RETURNED_BY]},
        aliases=aliases,
    )


def cut_network(
    network: nn.Module, names: Sequence[str], aliases: Mapping[str, str] = _NO_ALIASES
) -> fx.GraphModule:
    """Copy the part of a network that some of its nodes need.

    Tensors are copies, under the names they had; whatever is done to either network, the other
    stays as it is. One name makes the result return a tensor, several a tuple.

    Raises:
        InvalidValueError: no such node, no name at all, or torch.fx cannot follow the network.
    """
    if not names:
        raise InvalidValueError("names must be one node or more. Got none.")
    named = named_graph(network, aliases)
    ends = [named.find(name) for name in names]
    if isinstance(network, GraphNetwork):
        return _cut_graph_network(network, [str(end.target) for end in ends])
    needed = named.needed_for(ends)
    graph, copies = fx.Graph(), dict[fx.Node, fx.Node]()
    for node in named.graph.nodes:
        if node in needed:
            copies[node] = graph.node_copy(node, copies.__getitem__)
    outputs = tuple(copies[end] for end in ends)
    graph.output(outputs[0] if len(outputs) == 1 else outputs)
    # Of the network's modules a GraphModule holds those its graph names, and only they are copied.
    part = copy.deepcopy(fx.GraphModule(network, graph, "CutNetwork"))
    part.train(network.training)
    if len(ends) > 1:
        _keep_values(part)
    return part


def modules_around(node: fx.Node) -> tuple[tuple[str, str], ...]:
    """(path, class) of the modules in whose code a node lies, the outermost first."""
    stack = cast(Mapping[str, tuple[str, Any]], node.meta.get(_STACK) or {})
    return tuple(
        (path, kind.rpartition(".")[2] if isinstance(kind, str) else kind.__name__)
        for path, kind in stack.values()
        if path and not (node.op == "call_module" and path == node.target)
    )


def _cut_graph_network(network: GraphNetwork, names: Sequence[str]) -> GraphNetwork:
    part = GraphNetwork(network.spec.up_to(*names))
    for node in part.spec.nodes:  # the layers themselves, so that frozen ones stay frozen
        setattr(part, node.name, copy.deepcopy(network.get_submodule(node.name)))
    part.training = network.training
    if len(names) > 1:
        _keep_values(part)
    return part


def _keep_values(part: fx.GraphModule) -> None:
    """Let no layer write over what it reads: that may be an output, too."""
    for module in part.modules():
        if getattr(module, "inplace", False) is True:
            setattr(module, "inplace", False)  # noqa: B010  (not every module has one)
    for node in part.graph.nodes:
        if node.kwargs.get("inplace") is True:
            node.kwargs = {**node.kwargs, "inplace": False}
    part.recompile()


class _NamingTracer(LayerTracer):
    """Notes what modules return, and takes a block it cannot follow for one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.returned: dict[str, fx.Node] = {}

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        path, before = self.path_of_module(m), list(self.graph.nodes)
        stack = self.module_stack.copy()
        try:
            result = super().call_module(m, forward, args, kwargs)
        except Exception:  # whatever its code raises when it meets a proxy
            for node in list(self.graph.nodes)[: len(before) - 1 : -1]:
                self.graph.erase_node(node)
            self.module_stack = stack
            self.module_stack[path] = (path, type(m))
            result = self.create_proxy("call_module", path, args, kwargs)
            self.module_stack.popitem()
        if isinstance(result, fx.Proxy):
            self.returned[path] = result.node
        return result


def _name(graph: fx.Graph, returned: Mapping[str, fx.Node]) -> None:
    taken: set[str] = set()
    for node in graph.nodes:
        if node.op not in ("placeholder", "output"):
            name = _unused(_own_name(node), taken)
            taken.add(name)
            node.meta[_NAME], node.meta[_RETURNED_BY] = name, ()
    for path, node in returned.items():
        # A layer that is called several times is found under the name of its first call.
        if path not in taken and _NAME in node.meta:
            node.meta[_RETURNED_BY] += (path,)


def _own_name(node: fx.Node) -> str:
    if node.op in ("call_module", "get_attr"):
        return str(node.target)
    around = modules_around(node)
    function = re.sub(r"_\d+$", "", node.name).strip("_")
    return f"{around[-1][0]}.{function}" if around else function


def _unused(name: str, taken: set[str]) -> str:
    number, candidate = 0, name
    while candidate in taken:
        number += 1
        candidate = f"{name}_{number}"
    return candidate


def _last_inside(graph: fx.Graph) -> dict[str, fx.Node]:
    """What the modules returned, by the notes that torch.export leaves in its graphs."""
    return {
        path: node
        for node in graph.nodes
        if node.op not in ("placeholder", "output", "get_attr")
        for path, _ in modules_around(node)
    }
