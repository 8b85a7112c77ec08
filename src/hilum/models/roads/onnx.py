"""ONNX: the operators of image networks, opsets 7 to 25, without the `onnx` package.

What an operator means is in https://onnx.ai/onnx/operators/. Layers are PyTorch's own, so the
network trains, freezes and is cut as any other, and no machine that rebuilds it needs ONNX.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hilum.errors import InvalidValueError, require
from hilum.models.graph.spec import Option
from hilum.models.recipes import LoadedModel, PixelContract
from hilum.models.roads.assembly import Array, Assembly
from hilum.models.roads.onnx_constants import FOLDED, fold
from hilum.models.roads.onnx_file import NEWEST_OPSET, OLDEST_OPSET, Graph, Operation, read_graph
from hilum.models.roads.onnx_operators import WEIGHTED
from hilum.models.roads.onnx_shapes import WEIGHTLESS
from hilum.models.roads.onnx_site import Site
from hilum.models.roads.tracing import Flow, Shape, Tracer, Value

__all__ = ["NEWEST_OPSET", "OLDEST_OPSET", "OPERATORS", "load_onnx"]

OPERATORS = tuple(sorted({*WEIGHTED, *WEIGHTLESS, *FOLDED, "Shape", "Split"}))
"""Operators that are understood; some of them on constants only."""

_CONSTANT_BYTES = 256 << 20  # what a few bytes in the file may fill: ConstantOfShape, Expand


def load_onnx(path: str | Path, *, outputs: Sequence[str] | None = None) -> LoadedModel:
    """Read an ONNX file.

    Nodes have the names of ONNX's nodes, or of their outputs where they have none; dots become
    underscores. The number of images is free, whatever the file fixed it to.

    Args:
        path: of the file; tensors it keeps beside itself are read from its own folder only.
        outputs: names of nodes or values; None for the graph's own outputs.

    Raises:
        InvalidValueError: the file is damaged, or an operator or an option of one is not known.
    """
    path = Path(path)
    graph = read_graph(path)
    require(bool(graph.inputs), "inputs of an ONNX model", "one or more", len(graph.inputs))
    values = _Walk(graph).run()
    wanted = []
    for name in outputs or graph.outputs:
        value = values.get(name)
        if not isinstance(value, Flow):
            raise InvalidValueError(
                f"outputs must be values that depend on the image. Got {name!r}. "
                f"Hint: the last ones are {', '.join(list(values)[-5:])}."
            )
        wanted.append(value.node)
    return values.tracer.assembly.finish(
        wanted,
        files=(path,),
        pixels=PixelContract(size_px=_size(graph.inputs[0][1])),
        note=f"ONNX opset {graph.opset}",
    )


def _size(shape: Shape | None) -> tuple[int, int] | None:
    if shape is None or len(shape) != 4 or shape[2] is None or shape[3] is None:
        return None
    return shape[2], shape[3]


class _Values(dict[str, Value]):
    """Values by name, and by the name of the node that gave them."""

    tracer: Tracer


class _Walk:
    def __init__(self, graph: Graph) -> None:
        names = [name for name, _ in graph.inputs]
        assembly = Assembly(names, graph.file_bytes + _CONSTANT_BYTES // 2)
        self._graph = graph
        self._tracer = Tracer(assembly, [shape for _, shape in graph.inputs])
        self._batch = next((s[0] for _, s in graph.inputs if s), None)
        self._bytes_left = 4 * graph.file_bytes + _CONSTANT_BYTES
        self._values = _Values(graph.constants)
        self._values.tracer = self._tracer
        for name, node in zip(names, assembly.inputs, strict=True):
            self._values[name] = self._tracer.flow(node)

    def run(self) -> _Values:
        for operation in self._graph.operations:
            made = self._outputs(operation)
            for name, value in zip(operation.outputs, made, strict=False):
                if name:
                    self._values[name] = value
            if made and isinstance(made[0], Flow):
                self._values.setdefault(operation.name, made[0])
        return self._values

    def _account(self, operation: Operation, folded: Array) -> None:
        """Refuse constants that together take far more memory than the file has bytes."""
        if folded.base is None:  # no view of another
            self._bytes_left -= folded.nbytes
        right = self._bytes_left >= 0
        require(
            right, f"constant of node {operation.name!r}", "no larger than the file allows", ">"
        )

    def _outputs(self, operation: Operation) -> list[Value]:
        inputs: list[Value | None] = []
        for name in operation.inputs:
            if name and name not in self._values:
                raise InvalidValueError(
                    f"inputs of node {operation.name!r} must be values that come before it. "
                    f"Got {name!r}. Hint: the file is damaged."
                )
            inputs.append(self._values[name] if name else None)
        if operation.kind == "Shape" and inputs and inputs[0] is not None:
            return [_shape_of(operation, inputs[0])]
        arrays = [value for value in inputs if not isinstance(value, Flow)]
        if len(arrays) == len(inputs):
            folded = fold(operation, arrays, self._graph.opset)
            if folded is not None:
                self._account(operation, folded)
                return [folded]
        site = Site(operation, inputs, self._tracer, self._graph.opset, self._batch)
        if operation.kind == "Split":
            return list(_split(site))
        build = WEIGHTED.get(operation.kind) or WEIGHTLESS.get(operation.kind)
        if build is None:
            raise InvalidValueError(
                f"operator of node {operation.name!r} must be one Hilum knows "
                f"({', '.join(OPERATORS)}). Got {operation.kind}. Hint: outputs= the name of a "
                "node before it cuts the network there."
            )
        return [build(site)]


def _shape_of(operation: Operation, value: Value) -> Array:
    shape = value.shape
    if shape is None:
        raise InvalidValueError(
            f"shape asked for by node {operation.name!r} must be known. Got none. "
            "Hint: export the network with a fixed height and width."
        )
    start = operation.attributes.get("start", 0)
    part = shape[start : operation.attributes.get("end")]
    known = all(size is not None for size in part)
    return np.array(part, dtype=np.int64 if known else object)


def _split(site: Site) -> list[Flow]:
    """Parts of a dimension, each a node of its own."""
    flow = site.flow()
    axis = site.axis("axis", 0, flow)
    count = len(site.operation.outputs)
    sizes = site.operation.attributes.get("split")
    given = site.optional(1)
    if sizes is None and given is not None:
        sizes = given.reshape(-1).tolist()
    if sizes is None:
        whole = None if flow.shape is None or axis >= len(flow.shape) else flow.shape[axis]
        require(whole is not None, f"size before node {site.name!r}", "known", flow.shape)
        each = -(-(whole or 0) // max(1, count))
        sizes = [each] * count
    require(len(sizes) == count, f"parts of node {site.name!r}", f"{count}", sizes)
    flows, start = [], 0
    for number, size in enumerate(sizes):
        options: dict[str, Option] = {"dim": axis, "start": start, "end": start + int(size)}
        flows.append(site.add("Slice", options=options, part=f"{number}"))
        start += int(size)
    return flows
