"""TensorFlow: frozen graphs (.pb), such as freeze_graph and BigDL's save_tensorflow write.

TensorFlow works on (N, H, W, C), its GPU graphs on (N, C, H, W). The network made here takes and
gives (N, C, H, W) in both cases: kernels are turned, and for every value it is known which of its
dimensions TensorFlow counts as which. Dimensions are moved only where the graph flattens an image
or mixes both layouts.
"""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path

from hilum.errors import InvalidValueError, require
from hilum.models.recipes import LoadedModel, PixelContract
from hilum.models.roads.assembly import Array, Assembly, in_order
from hilum.models.roads.tensorflow_graph import FOLDED, Folder, Operation, operations
from hilum.models.roads.tensorflow_ops import OPERATIONS
from hilum.models.roads.tensorflow_site import LAYOUTS, SPATIAL, Site, Value, whole_numbers
from hilum.models.roads.wire import read_file, read_message

__all__ = ["load_frozen_graph"]

_FOLDED_ELEMENTS = 1 << 24
_NCHW = LAYOUTS["NCHW"]


def load_frozen_graph(
    path: str | Path, inputs: Sequence[str] | str, outputs: Sequence[str] | str
) -> LoadedModel:
    """Read a frozen graph of TensorFlow 1 or 2.

    Images go in as (N, C, H, W), whatever the graph's own layout; feature maps come out so. Nodes
    have TensorFlow's names. "SAME" borders are exact, also where they are wider on one side.

    Args:
        path: of the GraphDef in protocol buffers.
        inputs: names of the nodes that images go into: "input" or "input:0".
        outputs: names of the nodes that are wanted, such as logits or probabilities.

    Raises:
        InvalidValueError: the file is damaged or not frozen, a kind of node is not known here, or
            it has no nodes of these names.
    """
    path = Path(path)
    data = read_file(path, "a TensorFlow graph")
    graph = operations(read_message(data, "a TensorFlow graph"))
    wanted, given = _names(outputs, graph), _names(inputs, graph)
    order = _needed(graph, given, wanted)
    walk = _Walk(graph, Assembly(given, len(data)), Folder(len(data) + _FOLDED_ELEMENTS))
    layout = _layout(order, graph, given, walk)
    for name, own in zip(given, walk.assembly.inputs, strict=True):
        walk.feed(name, own, layout)
    for name in order:
        walk.run(name)
    made = []
    for name in wanted:
        value = walk.values[name]
        require(isinstance(value, Value), "outputs", "nodes that depend on the input", name)
        made.append(value.node if isinstance(value, Value) else "")
    image = _image(graph[given[0]], layout)
    known = len(image) == 3 and min(image[1:]) > 0
    pixels = PixelContract(size_px=(image[1], image[2]) if known else None)
    return walk.assembly.finish(made, files=(path,), pixels=pixels, image=image)


def _names(names: Sequence[str] | str, graph: Mapping[str, Operation]) -> list[str]:
    found = [name.removesuffix(":0") for name in ([names] if isinstance(names, str) else names)]
    require(bool(found) and len(set(found)) == len(found), "inputs and outputs", "names", found)
    for name in found:
        if name not in graph:
            short = [known for known in graph if len(known) < 100] or ["none of sane length"]
            close = difflib.get_close_matches(name[:100], short[:2000], n=5, cutoff=0.3)
            raise InvalidValueError(
                f"inputs and outputs must be nodes of the TensorFlow graph. Got {name!r}. "
                f"Hint: there are {len(graph)}, among them {', '.join(close or short[-5:])}."
            )
    return found


def _needed(
    graph: Mapping[str, Operation], inputs: Sequence[str], outputs: Sequence[str]
) -> list[str]:
    """Nodes between inputs and outputs, each behind those it reads."""
    found, left = set(outputs), list(outputs)
    while left:
        name = left.pop()
        for source in () if name in inputs else graph[name].reads:
            if source not in graph:
                raise InvalidValueError(
                    f"inputs of TensorFlow node {name!r} must be nodes of the graph. "
                    f"Got {source!r}."
                )
            if source not in found:
                found.add(source)
                left.append(source)
    reads = {
        name: () if name in inputs else operation.reads
        for name, operation in graph.items()
        if name in found
    }
    return in_order(reads, "a TensorFlow graph")


class _Walk:
    """The graph being read: what each node gives, a constant or a value of the network."""

    def __init__(self, graph: Mapping[str, Operation], assembly: Assembly, folder: Folder) -> None:
        self._graph, self.assembly, self._folder = graph, assembly, folder
        self.values: dict[str, Value | Array] = {}

    def feed(self, name: str, node: str, layout: tuple[int, ...]) -> None:
        """Put an input of the network in the place of a node."""
        shape = self._graph[name].shape()
        rank = 4 if shape is None else len(shape)
        require(0 < rank <= 8, f"shape of TensorFlow node {name!r}", "of 1 to 8 sizes", rank)
        axes = layout if rank == 4 else tuple(range(rank))
        channels = shape[axes.index(1)] if shape is not None and 1 in axes else None
        known = channels is not None and channels > 0
        self.values[name] = Value(node, axes, channels if known else None)

    def run(self, name: str) -> None:
        """Add what a node computes, once."""
        if name in self.values:
            return
        operation = self._graph[name]
        if operation.op == "Const":
            self.values[name] = operation.tensor()
            return
        read = [self.values[source] for source in operation.reads]
        constants = [value for value in read if not isinstance(value, Value)]
        if operation.op in FOLDED and len(constants) == len(read) > 0:
            self.values[name] = self._folder.fold(operation, constants)
            return
        require(
            operation.op in OPERATIONS,
            f"kind of TensorFlow node {name!r}",
            f"one of {', '.join(sorted(OPERATIONS))}",
            operation.op,
            hint="only frozen graphs of inference are read: no variables, no training, no control "
            "flow",
        )
        self.values[name] = OPERATIONS[operation.op](Site(operation, read, self.assembly))


def _layout(
    order: Sequence[str], graph: Mapping[str, Operation], inputs: Sequence[str], walk: _Walk
) -> tuple[int, ...]:
    """Where the axes of an image input lie in (N, C, H, W): as its first convolution needs it."""
    moved = {name: _NCHW for name in inputs}  # where each axis was in the input
    for name in order:
        operation = graph[name]
        known = operation.op == "Const" or operation.op in FOLDED
        if known and all(source in walk.values for source in operation.reads):
            walk.run(name)
            continue
        sources = [source for source in operation.reads if source in moved]
        if name in moved or not sources:
            continue
        here = moved[sources[0]]
        if operation.op in SPATIAL:
            needs = LAYOUTS.get(operation.text("data_format", "NHWC"), _NCHW)
            return tuple(needs[here.index(axis)] for axis in range(4))
        moved[name] = _turned(operation, here, walk)
    return LAYOUTS["NHWC"]


def _turned(operation: Operation, axes: tuple[int, ...], walk: _Walk) -> tuple[int, ...]:
    if operation.op != "Transpose":
        return axes
    order = whole_numbers(walk.values.get(operation.reads[-1]), operation.name)
    return tuple(axes[axis] for axis in order) if sorted(order) == [0, 1, 2, 3] else axes


def _image(operation: Operation, layout: tuple[int, ...]) -> tuple[int, ...]:
    """Channels, height and width of an input, -1 where they are open; () if nothing is known."""
    shape = operation.shape()
    if shape is None or len(shape) != 4:
        return ()
    return tuple(shape[layout.index(axis)] for axis in (1, 2, 3))
