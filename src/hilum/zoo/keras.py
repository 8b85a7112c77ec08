"""The Keras-style layers of 2019: values that are connected, not modules.

`hilum.zoo.keras_models` makes of them what training starts from. Shapes have no batch; images are
(C, H, W). Those that only images pass through are in `hilum.zoo.keras_images`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from hilum.errors import InvalidValueError, require
from hilum.models.recipes import LoadedModel
from hilum.zoo.regularizers import Regularizer

__all__ = [
    "Activation",
    "Dense",
    "Dropout",
    "Flatten",
    "Input",
    "Layer",
    "Merge",
    "NetLayer",
    "Parts",
    "Reshape",
    "Size",
    "Variable",
    "activation_parts",
    "connect",
    "merge",
    "require_glorot",
]

Size = tuple[int, ...]
Parts = Sequence[tuple[str, Mapping[str, Any]]]
"""(layer of `hilum.models.graph`, its options), one after another."""


class Layer(Protocol):
    """What becomes a node or two of a network."""

    @property
    def name(self) -> str | None:
        """The name of the node, or None for one that is made up."""
        ...

    def parts(self, shapes: Sequence[Size]) -> Parts:
        """Return what it is made of, for inputs of these shapes."""
        ...

    def output_shape(self, shapes: Sequence[Size]) -> Size:
        """Return the shape of what comes out."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Variable:
    """What a layer gives when it is called; `layer` is None for an input.

    Attributes:
        shape: without the batch.
    """

    layer: Any
    inputs: tuple["Variable", ...]
    shape: Size
    name: str | None = None


def connect(layer: Any, inputs: Variable | Sequence[Variable]) -> Variable:
    """Call a layer on what it reads."""
    read = (inputs,) if isinstance(inputs, Variable) else tuple(inputs)
    shape = layer.output_shape([variable.shape for variable in read])
    return Variable(layer, read, shape, layer.name)


def Input(shape: Sequence[int], name: str | None = None) -> Variable:
    """An image that comes in, (C, H, W), or (1, H, W) of grey."""
    size = tuple(shape)
    require(all(side > 0 for side in size), "shape", "positive sides", size)
    return Variable(None, (), size, name)


@dataclass(frozen=True, slots=True)
class NetLayer:
    """A loaded network as a layer; the shape of its output is found by a pass of zeros."""

    loaded: LoadedModel
    name: str | None = None
    __call__ = connect

    def parts(self, shapes: Sequence[Size]) -> Parts:
        """It is a network of its own."""
        raise InvalidValueError("a network must be placed whole. Got its parts asked for.")

    def output_shape(self, shapes: Sequence[Size]) -> Size:
        """Run the network once."""
        import torch

        with torch.inference_mode():
            result = self.loaded.network.eval()(torch.zeros(1, *shapes[0]))
        single = isinstance(result, torch.Tensor)
        require(single, "network", "one with one output", type(result).__name__)
        return tuple(result.shape[1:])


@dataclass(frozen=True, slots=True)
class Dense:
    """A linear layer. As the last one it is the head that transfer learning trains.

    Weights start Xavier-uniform ("glorot_uniform", the only `init`), biases at 0.
    """

    output_dim: int
    init: str = "glorot_uniform"
    activation: str | None = None
    W_regularizer: Regularizer | None = None
    b_regularizer: Regularizer | None = None
    bias: bool = True
    input_shape: Sequence[int] | None = None
    name: str | None = None
    __call__ = connect

    def __post_init__(self) -> None:
        require_glorot(self.init)
        require(self.output_dim > 0, "output_dim", "positive", self.output_dim)

    def parts(self, shapes: Sequence[Size]) -> Parts:
        """Linear, then the activation."""
        (features,) = _flat(shapes, "Dense")
        sizes = {"in_features": features, "out_features": self.output_dim, "bias": self.bias}
        return (("Linear", sizes), *activation_parts(self.activation))

    def output_shape(self, shapes: Sequence[Size]) -> Size:
        """(output_dim,)."""
        _flat(shapes, "Dense")
        return (self.output_dim,)


@dataclass(frozen=True, slots=True)
class Dropout:
    """Drop values with probability `p` while training, and scale the rest up."""

    p: float
    input_shape: Sequence[int] | None = None
    name: str | None = None
    __call__ = connect

    def parts(self, shapes: Sequence[Size]) -> Parts:
        """Dropout."""
        return (("Dropout", {"p": self.p}),)

    def output_shape(self, shapes: Sequence[Size]) -> Size:
        """The same."""
        return shapes[0]


@dataclass(frozen=True, slots=True)
class Flatten:
    """All values in a row."""

    input_shape: Sequence[int] | None = None
    name: str | None = None
    __call__ = connect

    def parts(self, shapes: Sequence[Size]) -> Parts:
        """Flatten."""
        return (("Flatten", {}),)

    def output_shape(self, shapes: Sequence[Size]) -> Size:
        """(values,)."""
        size = 1
        for side in shapes[0]:
            size *= side
        return (size,)


@dataclass(frozen=True, slots=True)
class Reshape:
    """Another shape of as many values; one side may be -1."""

    target_shape: Sequence[int]
    input_shape: Sequence[int] | None = None
    name: str | None = None
    __call__ = connect

    def parts(self, shapes: Sequence[Size]) -> Parts:
        """Reshape."""
        return (("Reshape", {"shape": list(self.output_shape(shapes))}),)

    def output_shape(self, shapes: Sequence[Size]) -> Size:
        """The shape, -1 worked out."""
        (values,) = Flatten().output_shape(shapes)
        known = 1
        for side in self.target_shape:
            known *= side if side > 0 else 1
        fits = values % known == 0 and (-1 in self.target_shape or values == known)
        require(fits, "target_shape", f"{values} values", tuple(self.target_shape))
        return tuple(values // known if side == -1 else side for side in self.target_shape)


@dataclass(frozen=True, slots=True)
class Activation:
    """relu, sigmoid, softmax, tanh, elu, softplus or linear."""

    activation: str
    input_shape: Sequence[int] | None = None
    name: str | None = None
    __call__ = connect

    def parts(self, shapes: Sequence[Size]) -> Parts:
        """The activation."""
        return activation_parts(self.activation) or (("Identity", {}),)

    def output_shape(self, shapes: Sequence[Size]) -> Size:
        """The same."""
        return shapes[0]


@dataclass(frozen=True, slots=True)
class Merge:
    """Several inputs into one: `mode` "sum", "mul" or "concat" (of channels)."""

    layers: Sequence[Any] | None = field(default=None, repr=False)
    mode: str = "sum"
    concat_axis: int = -1
    input_shape: Sequence[int] | None = None
    name: str | None = None
    __call__ = connect

    def parts(self, shapes: Sequence[Size]) -> Parts:
        """The sum, the product, or one behind the other."""
        self.output_shape(shapes)
        if self.mode == "concat":
            return (("Concatenate", {"dim": 1}),)
        return (({"sum": "Add", "mul": "Multiply"}[self.mode], {}),)

    def output_shape(self, shapes: Sequence[Size]) -> Size:
        """The shape of the inputs; with "concat" their channels are counted together."""
        require(len(shapes) > 1, "inputs", "two or more", len(shapes))
        require(self.mode in ("sum", "mul", "concat"), "mode", "sum, mul or concat", self.mode)
        if self.mode != "concat":
            require(len(set(shapes)) == 1, "inputs", "of one shape", shapes)
            return shapes[0]
        of_channels = self.concat_axis == 1 or (self.concat_axis == -1 and len(shapes[0]) == 1)
        require(of_channels, "concat_axis", "1, the channels", self.concat_axis)
        require(len({s[1:] for s in shapes}) == 1, "inputs", "alike but for channels", shapes)
        return (sum(shape[0] for shape in shapes), *shapes[0][1:])


def merge(
    inputs: Sequence[Variable], mode: str = "sum", concat_axis: int = -1, name: str | None = None
) -> Variable:
    """Connect several variables by a `Merge`."""
    return connect(Merge(None, mode, concat_axis, None, name), inputs)


_ACTIVATIONS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "relu": ("ReLU", {}),
    "sigmoid": ("Sigmoid", {}),
    "softmax": ("Softmax", {"dim": 1}),
    "tanh": ("Tanh", {}),
    "elu": ("ELU", {}),
    "softplus": ("Softplus", {}),
}


def activation_parts(name: str | None) -> Parts:
    """What an activation is made of; nothing for None and "linear"."""
    if name in (None, "linear"):
        return ()
    known = ", ".join([*_ACTIVATIONS, "linear"])
    require(name in _ACTIVATIONS, "activation", f"one of {known}", name)
    return (_ACTIVATIONS[str(name)],)


def _flat(shapes: Sequence[Size], layer: str) -> Size:
    flat = len(shapes[0]) == 1
    hint = "put Flatten() or GlobalAveragePooling2D() before it"
    require(flat, f"input of {layer}", "(features,)", shapes[0], hint=hint)
    return shapes[0]


def require_glorot(init: str) -> None:
    """Raise unless the weights are to start as they do here."""
    require(init == "glorot_uniform", "init", "glorot_uniform", init)
