"""Keras-style layers of 2019 that images pass through: convolutions, pooling, normalisation."""

from collections.abc import Sequence
from dataclasses import dataclass

from hilum.errors import require
from hilum.zoo.keras import Parts, Size, activation_parts, connect, require_glorot
from hilum.zoo.regularizers import Regularizer

__all__ = [
    "AveragePooling2D",
    "BatchNormalization",
    "Convolution2D",
    "GlobalAveragePooling2D",
    "GlobalMaxPooling2D",
    "MaxPooling2D",
    "ZeroPadding2D",
]


@dataclass(frozen=True, slots=True)
class GlobalAveragePooling2D:
    """The mean over an image: (C, H, W) to (C,)."""

    dim_ordering: str = "th"
    input_shape: Sequence[int] | None = None
    name: str | None = None
    __call__ = connect

    def parts(self, shapes: Sequence[Size]) -> Parts:
        """The mean."""
        return (("GlobalAveragePool", {}),)

    def output_shape(self, shapes: Sequence[Size]) -> Size:
        """(C,)."""
        _require_planes(shapes[0], self.dim_ordering, allow_flat=True)
        return shapes[0][:1]


@dataclass(frozen=True, slots=True)
class GlobalMaxPooling2D:
    """The largest value of an image: (C, H, W) to (C,)."""

    dim_ordering: str = "th"
    input_shape: Sequence[int] | None = None
    name: str | None = None
    __call__ = connect

    def parts(self, shapes: Sequence[Size]) -> Parts:
        """The maximum."""
        return (("AdaptiveMaxPool2d", {"output_size": 1}), ("Flatten", {}))

    def output_shape(self, shapes: Sequence[Size]) -> Size:
        """(C,)."""
        _require_planes(shapes[0], self.dim_ordering)
        return shapes[0][:1]


@dataclass(frozen=True, slots=True)
class Convolution2D:
    """A convolution; rows come before columns. `border_mode` is "valid" or "same"."""

    nb_filter: int
    nb_row: int
    nb_col: int
    init: str = "glorot_uniform"
    activation: str | None = None
    border_mode: str = "valid"
    subsample: tuple[int, int] = (1, 1)
    dim_ordering: str = "th"
    W_regularizer: Regularizer | None = None
    b_regularizer: Regularizer | None = None
    bias: bool = True
    input_shape: Sequence[int] | None = None
    name: str | None = None
    __call__ = connect

    def __post_init__(self) -> None:
        require_glorot(self.init)

    def parts(self, shapes: Sequence[Size]) -> Parts:
        """The border where it is needed, the convolution, the activation."""
        kernel = (self.nb_row, self.nb_col)
        border = _border(shapes[0], kernel, self.subsample, self.border_mode)
        options = {
            "in_channels": shapes[0][0],
            "out_channels": self.nb_filter,
            "kernel_size": list(kernel),
            "stride": list(self.subsample),
            "bias": self.bias,
        }
        padded = (("Pad", {"padding": list(border)}),) if any(border) else ()
        return (*padded, ("Conv2d", options), *activation_parts(self.activation))

    def output_shape(self, shapes: Sequence[Size]) -> Size:
        """(nb_filter, H, W)."""
        _require_planes(shapes[0], self.dim_ordering)
        kernel = (self.nb_row, self.nb_col)
        return (self.nb_filter, *_swept(shapes[0], kernel, self.subsample, self.border_mode))


@dataclass(frozen=True, slots=True)
class MaxPooling2D:
    """The largest value of each window."""

    pool_size: tuple[int, int] = (2, 2)
    strides: tuple[int, int] | None = None
    border_mode: str = "valid"
    dim_ordering: str = "th"
    input_shape: Sequence[int] | None = None
    name: str | None = None
    __call__ = connect

    def parts(self, shapes: Sequence[Size]) -> Parts:
        """The border where it is needed, the maximum."""
        step = self.strides or self.pool_size
        border = _border(shapes[0], self.pool_size, step, self.border_mode)
        lowest = {"padding": list(border), "value": float("-inf")}
        padded = (("Pad", lowest),) if any(border) else ()
        window = {"kernel_size": list(self.pool_size), "stride": list(step)}
        return (*padded, ("MaxPool2d", window))

    def output_shape(self, shapes: Sequence[Size]) -> Size:
        """(C, H, W)."""
        _require_planes(shapes[0], self.dim_ordering)
        step = self.strides or self.pool_size
        return (shapes[0][0], *_swept(shapes[0], self.pool_size, step, self.border_mode))


@dataclass(frozen=True, slots=True)
class AveragePooling2D:
    """The mean of each window; `border_mode` "valid" only."""

    pool_size: tuple[int, int] = (2, 2)
    strides: tuple[int, int] | None = None
    border_mode: str = "valid"
    dim_ordering: str = "th"
    input_shape: Sequence[int] | None = None
    name: str | None = None
    __call__ = connect

    def __post_init__(self) -> None:
        require(self.border_mode == "valid", "border_mode", "valid", self.border_mode)

    def parts(self, shapes: Sequence[Size]) -> Parts:
        """The mean."""
        step = self.strides or self.pool_size
        return (("AvgPool2d", {"kernel_size": list(self.pool_size), "stride": list(step)}),)

    def output_shape(self, shapes: Sequence[Size]) -> Size:
        """(C, H, W)."""
        _require_planes(shapes[0], self.dim_ordering)
        step = self.strides or self.pool_size
        return (shapes[0][0], *_swept(shapes[0], self.pool_size, step, "valid"))


@dataclass(frozen=True, slots=True)
class ZeroPadding2D:
    """Zeros around an image: (rows, columns) on each side."""

    padding: tuple[int, int] = (1, 1)
    dim_ordering: str = "th"
    input_shape: Sequence[int] | None = None
    name: str | None = None
    __call__ = connect

    def parts(self, shapes: Sequence[Size]) -> Parts:
        """The border."""
        rows, columns = self.padding
        return (("Pad", {"padding": [columns, columns, rows, rows]}),)

    def output_shape(self, shapes: Sequence[Size]) -> Size:
        """(C, H + 2 rows, W + 2 columns)."""
        _require_planes(shapes[0], self.dim_ordering)
        channels, height, width = shapes[0]
        return (channels, height + 2 * self.padding[0], width + 2 * self.padding[1])


@dataclass(frozen=True, slots=True)
class BatchNormalization:
    """Batch normalisation. `momentum` is the share of the old statistics, as in Keras."""

    epsilon: float = 1e-3
    momentum: float = 0.99
    dim_ordering: str = "th"
    input_shape: Sequence[int] | None = None
    name: str | None = None
    __call__ = connect

    def parts(self, shapes: Sequence[Size]) -> Parts:
        """Batch normalisation of one or two dimensions."""
        kind = "BatchNorm2d" if len(shapes[0]) == 3 else "BatchNorm1d"
        # PyTorch's momentum is the share of the new statistics.
        share = round(1 - self.momentum, 12)
        return ((kind, {"num_features": shapes[0][0], "eps": self.epsilon, "momentum": share}),)

    def output_shape(self, shapes: Sequence[Size]) -> Size:
        """The same."""
        return shapes[0]


def _require_planes(shape: Size, dim_ordering: str, *, allow_flat: bool = False) -> None:
    require(dim_ordering == "th", "dim_ordering", '"th": (channels, rows, columns)', dim_ordering)
    fits = len(shape) == 3 or (allow_flat and len(shape) == 1)
    require(fits, "input", "(channels, rows, columns)", shape)


def _swept(shape: Size, kernel: Sequence[int], step: Sequence[int], mode: str) -> Size:
    """Rows and columns of what a window that moves over an image gives."""
    require(mode in ("valid", "same"), "border_mode", "valid or same", mode)
    if mode == "same":
        return tuple(-(-side // s) for side, s in zip(shape[1:], step, strict=True))
    sides = zip(shape[1:], kernel, step, strict=True)
    swept = tuple((side - k) // s + 1 for side, k, s in sides)
    require(min(swept) > 0, "window", f"within {shape[1:]}", tuple(kernel))
    return swept


def _border(shape: Size, kernel: Sequence[int], step: Sequence[int], mode: str) -> Size:
    """(left, right, top, bottom) of "same"; the odd pixel goes to the end."""
    if mode == "valid":
        return (0, 0, 0, 0)
    out = _swept(shape, kernel, step, mode)
    triples = zip(shape[1:], kernel, step, out, strict=True)
    missing = [max(0, (o - 1) * s + k - side) for side, k, s, o in triples]
    (top, bottom), (left, right) = ((m // 2, m - m // 2) for m in missing)
    return (left, right, top, bottom)
