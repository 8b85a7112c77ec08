"""What each kind of TensorFlow node is in PyTorch; one function a kind, in the table OPERATIONS."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from hilum.models.graph.spec import Option
from hilum.models.roads.assembly import Array
from hilum.models.roads.spatial import convolve, pool
from hilum.models.roads.tensorflow_site import Site, Value, whole_numbers, without

__all__ = ["OPERATIONS"]


def _numbers(site: Site, place: int) -> list[int]:
    return whole_numbers(site.constant(place), site.operation.name)


def _axis(site: Site, axis: int, value: Value) -> int:
    """Which dimension one of TensorFlow's axes is."""
    if not -len(value.axes) <= axis < len(value.axes):
        raise site.error(f"on one of {len(value.axes)} axes", axis)
    return value.axes[axis]


def _convolution(site: Site) -> Value:
    value, axes = site.spatial()
    kernel = site.constant(1)
    if kernel.ndim != 4:
        raise site.error("with a kernel of four sizes", kernel.shape)
    weight = kernel.transpose(3, 2, 0, 1)
    inputs = weight.shape[1]
    whole = value.channels is not None and inputs > 0 and value.channels % inputs == 0
    groups = (value.channels or 0) // inputs if whole else 1
    return _convolved(site, value, axes, weight, max(groups, 1))


def _depthwise(site: Site) -> Value:
    value, axes = site.spatial()
    kernel = site.constant(1)
    if kernel.ndim != 4 or 0 in kernel.shape:
        raise site.error("with a kernel of four sizes", kernel.shape)
    height, width, inputs, times = kernel.shape
    weight = kernel.transpose(2, 3, 0, 1).reshape(inputs * times, 1, height, width)
    return _convolved(site, value, axes, weight, inputs)


def _convolved(
    site: Site, value: Value, axes: tuple[int, ...], weight: Array, groups: int
) -> Value:
    node = convolve(
        site.assembly,
        site.operation.name,
        value.node,
        tensors={"weight": weight},
        stride=site.sizes("strides", axes),
        border=site.border(axes),
        dilation=site.sizes("dilations", axes),
        groups=groups,
    )
    return Value(node, axes, weight.shape[0])


def _max_pool(site: Site) -> Value:
    return _pooled(site, average=False)


def _average_pool(site: Site) -> Value:
    return _pooled(site, average=True)


def _pooled(site: Site, *, average: bool) -> Value:
    value, axes = site.spatial()
    node = pool(
        site.assembly,
        site.operation.name,
        value.node,
        kind="AvgPool2d" if average else "MaxPool2d",
        kernel=site.sizes("ksize", axes),
        stride=site.sizes("strides", axes),
        border=site.border(axes),
    )
    return replace(value, node=node)


def _batch_norm(site: Site) -> Value:
    value, _ = site.spatial()
    if site.operation.integer("is_training", 1):
        raise site.error("frozen with is_training=False", "is_training=True")
    names = ("weight", "bias", "running_mean", "running_var")
    tensors = {name: site.constant(1 + i).reshape(-1) for i, name in enumerate(names)}
    options: dict[str, Option] = {
        "num_features": int(tensors["weight"].size),
        "eps": site.operation.real("epsilon", 1e-4),
    }
    return replace(value, node=site.add("BatchNorm2d", [value.node], options, tensors))


def _lrn(site: Site) -> Value:
    value, _ = site.spatial()
    radius = site.operation.integer("depth_radius", 5)
    if not 0 <= radius < 1 << 20:
        raise site.error("of a radius of 0 or more", radius)
    size = 2 * radius + 1
    options: dict[str, Option] = {
        "size": size,
        "alpha": site.operation.real("alpha", 1.0) * size,  # PyTorch divides it by the size
        "beta": site.operation.real("beta", 0.5),
        "k": site.operation.real("bias", 1.0),
    }
    return replace(value, node=site.add("LocalResponseNorm", [value.node], options))


def _bias_add(site: Site) -> Value:
    value = site.value()
    axis = 1 if site.operation.text("data_format", "NHWC") == "NCHW" else -1
    if site.constant(1).ndim != 1 or _axis(site, axis, value) != 1:
        raise site.error("of one number per channel", site.constant(1).shape)
    return _per_channel(site, value, bias=site.constant(1))


def _per_channel(
    site: Site, value: Value, *, weight: Array | None = None, bias: Array | None = None
) -> Value:
    found = {"weight": weight, "bias": bias}
    tensors = {name: part.reshape(-1) for name, part in found.items() if part is not None}
    options: dict[str, Option] = {
        "num_features": max(part.size for part in tensors.values()),
        "scale": weight is not None,
        "bias": bias is not None,
    }
    return replace(value, node=site.add("Affine", [value.node], options, tensors))


def _with_constant(site: Site) -> tuple[Value, Array, bool]:
    """What a sum or product reads: the value, the constant, and whether the value comes first."""
    first = isinstance(site.read[0], Value)
    value, constant = site.value(0 if first else 1), site.constant(1 if first else 0)
    sizes = [1] * (len(value.axes) - constant.ndim) + list(constant.shape)
    wide = [axis for axis, size in enumerate(sizes) if size != 1]
    channels = value.axes.index(1) if 1 in value.axes else None
    if len(sizes) > len(value.axes) or (constant.size != 1 and wide != [channels]):
        raise site.error("with a constant that is one number, or one per channel", constant.shape)
    return value, constant, first


def _is_constant(site: Site) -> bool:
    if len(site.read) != 2:
        raise site.error("of two inputs", len(site.read))
    return not all(isinstance(part, Value) for part in site.read)


def _sum(site: Site) -> Value:
    if not _is_constant(site):
        return _joint(site, "Add")
    value, constant, _ = _with_constant(site)
    if constant.size == 1:
        return _power(site, value, shift=float(constant.item()))
    return _per_channel(site, value, bias=constant)


def _difference(site: Site) -> Value:
    if not _is_constant(site):
        return _joint(site, "WeightedSum", {"weights": (1.0, -1.0)})
    value, constant, first = _with_constant(site)
    if constant.size == 1:
        number = float(constant.item())
        return _power(site, value, scale=1.0 if first else -1.0, shift=-number if first else number)
    if first:
        return _per_channel(site, value, bias=-constant)
    return _per_channel(site, value, weight=-np.ones_like(constant), bias=constant)


def _product(site: Site) -> Value:
    if not _is_constant(site):
        return _joint(site, "Multiply")
    value, constant, _ = _with_constant(site)
    if constant.size == 1:
        return _power(site, value, scale=float(constant.item()))
    return _per_channel(site, value, weight=constant)


def _quotient(site: Site) -> Value:
    if not _is_constant(site) or not isinstance(site.read[0], Value):
        raise site.error("a division by a constant", "another one")
    value, constant, _ = _with_constant(site)
    with np.errstate(all="ignore"):
        factor = 1 / constant
    if constant.size == 1:
        return _power(site, value, scale=float(factor.item()))
    return _per_channel(site, value, weight=factor)


def _power(site: Site, value: Value, **options: float) -> Value:
    return replace(value, node=site.add("Power", [value.node], options))


def _joint(site: Site, layer: str, options: Mapping[str, Option] | None = None) -> Value:
    values = site.values()
    channels = max((value.channels or 0 for value in values), default=0)
    node = site.add(layer, [value.node for value in values], options)
    return Value(node, values[0].axes, channels or None)


def _add_n(site: Site) -> Value:
    return _joint(site, "Add")


def _maximum(site: Site) -> Value:
    return _joint(site, "Maximum")


def _concat(site: Site) -> Value:
    (axis,) = whole_numbers(site.constant(-1), site.operation.name, most=1)
    joined = replace(site, read=site.read[:-1]).values()
    dim = _axis(site, axis, joined[0])
    channels = joined[0].channels
    if dim == 1:
        sizes = [value.channels for value in joined]
        channels = None if None in sizes else sum(size or 0 for size in sizes)
    node = site.add("Concatenate", [value.node for value in joined], {"dim": dim})
    return Value(node, joined[0].axes, channels)


def _mean(site: Site) -> Value:
    value = site.value()
    dims = sorted({_axis(site, axis, value) for axis in _numbers(site, 1)})
    if 0 in dims:
        raise site.error("a mean within each image, not over the batch", dims)
    keep = bool(site.operation.integer("keep_dims", 0))
    if len(value.axes) == 4 and dims == [2, 3]:
        node = site.add("GlobalAveragePool", [value.node], {"keepdim": keep})
    else:
        node = site.add("Mean", [value.node], {"dims": tuple(dims), "keepdim": keep})
    return replace(value, node=node) if keep else without(value, node, dims)


def _squeeze(site: Site) -> Value:
    value = site.value()
    axes = site.operation.integers("squeeze_dims")
    dims = sorted({_axis(site, axis, value) for axis in axes})
    if not dims or 0 in dims:
        raise site.error("a squeeze of named axes behind the batch (squeeze_dims)", axes)
    return without(value, site.add("Squeeze", [value.node], {"dims": tuple(dims)}), dims)


def _reshape(site: Site) -> Value:
    value, wanted = site.value(), site.constant(1)
    if wanted.dtype.kind == "f":  # computed from `_shape`: NaN is what is left
        with np.errstate(all="ignore"):
            wanted = np.where(np.isnan(wanted), -1, np.clip(wanted, -2, 1 << 31)).astype(np.int64)
    sizes = whole_numbers(wanted, site.operation.name)
    # A graph for one image says 1 where others say -1.
    sane = len(sizes) > 1 and sizes[0] in (-1, 1) and all(n > 0 or n == -1 for n in sizes[1:])
    if not sane or sizes[1:].count(-1) > 1:
        raise site.error("a reshape to the batch, -1, and sizes of which one may be open", sizes)
    ordered = site.moved(value, tuple(range(len(value.axes))))
    node = site.add("Reshape", [ordered.node], {"shape": tuple(sizes[1:])})
    return Value(node, tuple(range(len(sizes))), sizes[1] if sizes[1] > 0 else None)


def _shape(site: Site) -> Array:
    """Sizes as TensorFlow's programs compute with them: -1 for the batch, NaN for all others."""
    return np.array([-1.0, *[np.nan] * (len(site.value().axes) - 1)])


def _transpose(site: Site) -> Value:
    value, turn = site.value(), _numbers(site, 1)
    if sorted(turn) != list(range(len(value.axes))):
        raise site.error(f"an order of {len(value.axes)} axes", turn)
    # Nothing moves: only what TensorFlow counts as which axis.
    node = site.add("Identity", [value.node])
    return Value(node, tuple(value.axes[axis] for axis in turn), value.channels)


def _pad(site: Site) -> Value:
    value, sides = site.value(), whole_numbers(site.constant(1), site.operation.name, most=16)
    if len(sides) != 2 * len(value.axes) or not all(0 <= side < 1 << 20 for side in sides):
        raise site.error("with two widths for every axis", sides)
    by_dim = {dim: sides[2 * i : 2 * i + 2] for i, dim in enumerate(value.axes)}
    if any(by_dim[dim] != [0, 0] for dim in (0, 1) if dim in by_dim):
        raise site.error("a border around images, not around batch or channels", sides)
    border = site.constant(2).reshape(-1) if len(site.read) > 2 else np.zeros(1)
    if border.size != 1:
        raise site.error("a border of one number", border.shape)
    widths = [width for dim in sorted(by_dim, reverse=True) for width in by_dim[dim] if dim > 1]
    options: dict[str, Option] = {"padding": tuple(widths), "value": float(border[0])}
    return replace(value, node=site.add("Pad", [value.node], options))


def _matmul(site: Site) -> Value:
    value, weight = site.value(), site.constant(1)
    if len(value.axes) != 2 or weight.ndim != 2 or site.operation.integer("transpose_a", 0):
        raise site.error("of a matrix of features and one of weights", weight.shape)
    weight = weight if site.operation.integer("transpose_b", 0) else weight.T
    options: dict[str, Option] = {
        "in_features": weight.shape[1],
        "out_features": weight.shape[0],
        "bias": False,
    }
    source = site.moved(value, (0, 1)).node
    node = site.add("Linear", [source], options, {"weight": weight})
    return Value(node, (0, 1), weight.shape[0])


def _softmax(site: Site) -> Value:
    value = site.value()
    layer = "LogSoftmax" if site.operation.op == "LogSoftmax" else "Softmax"
    node = site.add(layer, [value.node], {"dim": _axis(site, -1, value)})
    return replace(value, node=node)


def _leaky_relu(site: Site) -> Value:
    value = site.value()
    options: dict[str, Option] = {"negative_slope": site.operation.real("alpha", 0.2)}
    return replace(value, node=site.add("LeakyReLU", [value.node], options))


def _plain(layer: str, **options: Option) -> Callable[[Site], Value]:
    def add(site: Site) -> Value:
        value = site.value()
        return replace(value, node=site.add(layer, [value.node], options))

    return add


OPERATIONS: Mapping[str, Callable[[Site], Value | Array]] = MappingProxyType(
    {
        "Add": _sum,
        "AddN": _add_n,
        "AddV2": _sum,
        "AvgPool": _average_pool,
        "BiasAdd": _bias_add,
        "CheckNumerics": _plain("Identity"),
        "ConcatV2": _concat,
        "Conv2D": _convolution,
        "DepthwiseConv2dNative": _depthwise,
        "Elu": _plain("ELU"),
        "FusedBatchNorm": _batch_norm,
        "FusedBatchNormV2": _batch_norm,
        "FusedBatchNormV3": _batch_norm,
        "Identity": _plain("Identity"),
        "IdentityN": _plain("Identity"),  # its first output is what anybody reads
        "LRN": _lrn,
        "LeakyRelu": _leaky_relu,
        "LogSoftmax": _softmax,
        "MatMul": _matmul,
        "MaxPool": _max_pool,
        "Maximum": _maximum,
        "Mean": _mean,
        "Mul": _product,
        "Neg": _plain("Power", scale=-1.0),
        "Pad": _pad,
        "PadV2": _pad,
        "RealDiv": _quotient,
        "Relu": _plain("ReLU"),
        "Relu6": _plain("ReLU6"),
        "Reshape": _reshape,
        "Rsqrt": _plain("Power", power=-0.5),
        "Selu": _plain("SELU"),
        "Shape": _shape,
        "Sigmoid": _plain("Sigmoid"),
        "Softmax": _softmax,
        "Softplus": _plain("Softplus"),
        "Sqrt": _plain("Power", power=0.5),
        "Square": _plain("Power", power=2.0),
        "Squeeze": _squeeze,
        "StopGradient": _plain("Identity"),
        "Sub": _difference,
        "Tanh": _plain("Tanh"),
        "Transpose": _transpose,
    }
)
"""By TensorFlow's name of the kind."""
