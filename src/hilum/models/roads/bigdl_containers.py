"""BigDL's containers, opened: a graph, a sequence or a fork becomes the nodes it is made of.

A value is a list of nodes: one for a tensor, several for what BigDL calls a table.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from hilum.errors import InvalidValueError, require
from hilum.models.roads.assembly import in_order
from hilum.models.roads.bigdl_definition import Module, Network
from hilum.models.roads.bigdl_modules import MODULES

__all__ = ["add_module"]

_MAX_PARTS = 10_000  # of a table; nested forks of forks are how a small file grows a large one
_WHOLE = -1  # an edge that takes all a module gives, not one part of its table

Values = list[str]


def add_module(network: Network, module: Module, read: Values, *, is_root: bool = False) -> Values:
    """Add a module with all that is in it.

    Args:
        network: where to.
        module: of any kind.
        read: nodes it reads.
        is_root: whether it is the model itself, whose name no node needs.

    Returns:
        What it gives; a container's own name is a node, too, if it gives one tensor.

    Raises:
        InvalidValueError: its kind is not known here.
    """
    rule = f"a table of at most {_MAX_PARTS} tensors"
    require(len(read) <= _MAX_PARTS, f"what {module.name!r} reads", rule, len(read))
    require(module.is_nchw(), f"format of BigDL module {module.name!r}", "NCHW", "NHWC")
    if module.kind in MODULES:
        return [MODULES[module.kind](module, read, network)]
    if module.kind == "Input":
        return read
    if module.kind not in _CONTAINERS:
        raise InvalidValueError(
            f"type of BigDL module {module.name!r} must be one of "
            f"{', '.join(sorted([*MODULES, *_CONTAINERS]))} of com.intel.analytics.bigdl.nn. "
            f"Got {module.type!r}. Hint: quantised, mkldnn and Keras-style modules are not read."
        )
    made = _CONTAINERS[module.kind](network, module, read)
    if len(made) == 1 and not is_root and module.kind not in _NAMES_ITSELF:
        return [network.assembly.add(module.name, "Identity", made)]
    return made


def _sequence(network: Network, module: Module, read: Values) -> Values:
    for child in module.children:
        read = add_module(network, child, read)
    return read


def _fork(network: Network, module: Module, read: Values) -> Values:
    made: Values = []
    for child in module.children:
        made += add_module(network, child, read)
        rule = f"a table of at most {_MAX_PARTS} tensors"
        require(len(made) <= _MAX_PARTS, f"what {module.name!r} gives", rule, len(made))
    return made


def _parallel(network: Network, module: Module, read: Values) -> Values:
    rule = "as many modules as inputs"
    fits = len(module.children) == len(read)
    require(fits, f"BigDL module {module.name!r}", rule, (len(module.children), len(read)))
    pairs = zip(module.children, read, strict=True)
    return [node for child, value in pairs for node in add_module(network, child, [value])]


def _concat(network: Network, module: Module, read: Values) -> Values:
    branches = _fork(network, module, read)
    dim = module.integer("dimension", 2, 1) - 1
    return [network.assembly.add(module.name, "Concatenate", branches, {"dim": dim})]


def _flatten(network: Network, module: Module, read: Values) -> Values:
    return list(read)


def _graph(network: Network, module: Module, read: Values) -> Values:
    children = {child.name: child for child in module.children}
    rule = "modules with names of their own"
    fits = len(children) == len(module.children)
    require(fits, f"BigDL graph {module.name!r}", rule, "a name twice")
    reads = {
        name: [source for source in child.reads if source in children]
        for name, child in children.items()
    }
    values = dict(_fed(module, read))
    edges = module.edges()
    for name in in_order(reads, "a BigDL graph"):
        taken = list(values.get(name, []))
        parts = edges[name].table(2) if name in edges else {}
        for source in reads[name]:
            rule = f"a table of at most {_MAX_PARTS} tensors"
            require(len(taken) <= _MAX_PARTS, f"what {name!r} reads", rule, len(taken))
            part = parts.get(source)
            taken += _part(values[source], _WHOLE if part is None else part.integer(3), name)
        values[name] = add_module(network, children[name], taken)
    outputs = module.texts("outputNames")
    known = bool(outputs) and all(name in values for name in outputs)
    require(known, "outputNames of a BigDL graph", "names of its modules", outputs)
    return [node for name in outputs for node in values[name]]


def _fed(module: Module, read: Values) -> list[tuple[str, Values]]:
    """Which modules of a graph read what the graph reads: all of it, or one part each."""
    names = module.texts("inputNames")
    children = {child.name for child in module.children}
    known = bool(names) and set(names) <= children
    require(known, "inputNames of a BigDL graph", "names of its modules", names)
    if len(names) == 1:
        return [(names[0], read)]
    rule = f"{len(read)} modules"
    require(len(names) == len(read), "inputNames of a BigDL graph", rule, names)
    return [(name, [node]) for name, node in zip(names, read, strict=True)]


def _part(values: Values, index: int, name: str) -> Values:
    if index == _WHOLE:
        return values
    rule = f"between 1 and {len(values)}"
    require(1 <= index <= len(values), f"table entry that {name!r} reads", rule, index)
    return [values[index - 1]]


_CONTAINERS: Mapping[str, Callable[[Network, Module, Values], Values]] = MappingProxyType(
    {
        "Concat": _concat,
        "ConcatTable": _fork,
        "FlattenTable": _flatten,
        "Graph": _graph,
        "ParallelTable": _parallel,
        "Sequential": _sequence,
        "StaticGraph": _graph,
    }
)
_NAMES_ITSELF = ("Concat",)
