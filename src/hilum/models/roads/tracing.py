"""Values on their way through a network that is written as arithmetic: ONNX, ATen.

Such files compute shapes in the graph ("the batch's size, and all the rest"), and keep constants
among the nodes. So a value here is either numbers that are known, which are computed at once, or a
flow, the output of a node, of which the shape is known as far as the file's input says it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from hilum.errors import HilumError, InvalidValueError, require
from hilum.models.graph import LAYERS
from hilum.models.graph.spec import Option
from hilum.models.roads.assembly import Array, Assembly

__all__ = ["Flow", "Shape", "Tracer", "Value", "as_integers", "bounded"]

Shape = tuple[int | None, ...]
_UNKNOWN = (192, 224)  # stand for a size that only the image will tell
_BATCH = 2
_LARGEST_CONSTANT = 1 << 27


@dataclass(frozen=True, slots=True)
class Flow:
    """The output of a node: its name, and its shape with None for what is not known.

    `shape` is None where not even the rank is known. The first size, of the batch, never is.
    """

    node: str
    shape: Shape | None

    def rank(self) -> int | None:
        """Number of dimensions."""
        return None if self.shape is None else len(self.shape)


Value = Flow | Array


class Tracer:
    """An assembly that knows what shapes come out of its nodes.

    Args:
        assembly: where nodes go.
        shapes: of its inputs, in their order.
    """

    def __init__(self, assembly: Assembly, shapes: Sequence[Shape | None]) -> None:
        self.assembly = assembly
        self._shapes: dict[str, Shape | None] = {
            name: None if shape is None else (None, *shape[1:])
            for name, shape in zip(assembly.inputs, shapes, strict=True)
        }
        self._seen = 0

    def flow(self, name: str) -> Flow:
        """What a node or an input of the assembly gives."""
        for node in self.assembly.nodes[self._seen :]:
            inputs = [self._shapes[source] for source in node.inputs]
            self._shapes[node.name] = _shape_behind(node.name, node.layer, node.options, inputs)
        self._seen = len(self.assembly.nodes)
        return Flow(name, self._shapes[name])

    def add(
        self,
        name: str,
        layer: str,
        *flows: Flow,
        options: Mapping[str, Option] | None = None,
        tensors: Mapping[str, Array] | None = None,
    ) -> Flow:
        """Add a node that reads flows."""
        nodes = [flow.node for flow in flows]
        return self.flow(self.assembly.add(name, layer, nodes, options, tensors))


def _shape_behind(
    name: str, layer: str, options: Mapping[str, Option], inputs: Sequence[Shape | None]
) -> Shape | None:
    """The shape that a layer gives for shapes, found without memory on PyTorch's meta device.

    Sizes that only the image will tell are tried with two numbers: what comes out alike is known.
    """
    if any(shape is None for shape in inputs):
        return None
    known = [shape for shape in inputs if shape is not None]
    certain = all(size is not None for shape in known for size in shape[1:])
    try:
        with torch.device("meta"), torch.no_grad():
            module = LAYERS[layer](**options).eval()
            found = [
                tuple(module(*(_image(shape, size) for shape in known)).shape)
                for size in (_UNKNOWN[:1] if certain else _UNKNOWN)
            ]
    except HilumError:
        raise
    # What a layer raises for a shape it does not take is up to PyTorch.
    except Exception as error:
        if not certain:
            return None
        raise InvalidValueError(
            f"node {name!r} ({layer}) must be able to read {', '.join(map(str, known))}. "
            f"Got {str(error).splitlines()[0] if str(error) else error!r}. "
            "Hint: the file is damaged, or Hilum understands one of its nodes wrongly."
        ) from error
    if len({len(shape) for shape in found}) > 1 or not found[0]:
        return None
    sizes = zip(*(shape[1:] for shape in found), strict=True)
    return (None, *(one[0] if len(set(one)) == 1 else None for one in sizes))


def _image(shape: Shape, unknown: int) -> torch.Tensor:
    return torch.empty((_BATCH, *(unknown if size is None else size for size in shape[1:])))


def bounded(count: int, what: str) -> None:
    """Refuse constants larger than any network for images has.

    Raises:
        InvalidValueError: too many numbers.
    """
    require(0 <= count <= _LARGEST_CONSTANT, what, f"at most {_LARGEST_CONSTANT:,} numbers", count)


def as_integers(value: Value, what: str) -> list[int | None]:
    """The whole numbers of a constant; None for a size that only the image will tell.

    Raises:
        InvalidValueError: depends on the image otherwise, or no whole numbers.
    """
    require(
        isinstance(value, np.ndarray),
        what,
        "known before there is an image",
        "a value of the network",
    )
    assert isinstance(value, np.ndarray)
    require(value.size < 1 << 10, what, "a few numbers", value.size)
    found: list[int | None] = []
    for item in value.ravel().tolist():
        whole = item is None or (isinstance(item, int | float) and float(item).is_integer())
        require(whole, what, "whole numbers", item)
        found.append(None if item is None else int(item))
    return found
