"""What each kind of Caffe layer is in PyTorch; one function per kind, all in the table LAYERS.

The arithmetic is that of src/caffe/layers in BVLC's Caffe of 2017. What differs from PyTorch's
habits: pools round up unless told otherwise, and drop a last window that would begin in the border;
averages count the border; batch norms keep their statistics times a factor that is stored beside
them, and have no weights of their own (that is the layer Scale).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from hilum.errors import require
from hilum.models.graph.spec import Option
from hilum.models.roads.assembly import Array, Assembly, shaped
from hilum.models.roads.text_format import Tree

__all__ = ["LAYERS", "Blob", "Layer"]

_LARGEST = 1 << 31


@dataclass(frozen=True, slots=True)
class Blob:
    """A value between layers.

    Attributes:
        node: who computes it.
        flat: whether it is (N, C) and not (N, C, H, W).
    """

    node: str
    flat: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer of the definition with its weights.

    Attributes:
        name: Caffe's.
        fields: of the definition.
        read: what its bottoms hold.
        blobs: weights, in Caffe's order.
        assembly: where its nodes go.
    """

    name: str
    fields: Tree
    read: Sequence[Blob]
    blobs: Sequence[Array]
    assembly: Assembly

    def weights(self, count: int) -> list[Array]:
        """The weights, of which there must be so many."""
        require(
            len(self.blobs) == count,
            f"weights of Caffe layer {self.name!r}",
            f"{count} blobs in the caffemodel",
            len(self.blobs),
            hint="do the two files belong together?",
        )
        return list(self.blobs)

    def add(
        self,
        layer: str,
        options: Mapping[str, Option] | None = None,
        tensors: Mapping[str, Array] | None = None,
        *,
        flat: bool | None = None,
    ) -> Blob:
        """Add the node that has the layer's name; reads all bottoms, keeps their form."""
        inputs = [blob.node for blob in self.read]
        node = self.assembly.add(self.name, layer, inputs, options, tensors)
        return Blob(node, self.read[0].flat if flat is None else flat)

    def whole(self, tree: Tree, name: str, default: int, least: int = 0) -> int:
        """An integer setting within sane bounds."""
        value = tree.integer(name, default)
        return self.checked(value, name, least)

    def checked(self, value: int, name: str, least: int) -> int:
        """The value, if it is sane."""
        rule = f"between {least} and {_LARGEST}"
        require(least <= value <= _LARGEST, f"{name} of Caffe layer {self.name!r}", rule, value)
        return value

    def pair(self, tree: Tree, name: str, default: int, least: int) -> tuple[int, int]:
        """Height and width of a kernel, stride, border or dilation."""
        short = name.removesuffix("_size")
        if f"{short}_h" in tree or f"{short}_w" in tree:
            values = [tree.integer(f"{short}_h", default), tree.integer(f"{short}_w", default)]
        else:
            values = (tree.integers(name) or [default])[:2]
        sane = [self.checked(value, name, least) for value in values]
        return sane[0], sane[-1]


def _convolution(layer: Layer) -> Blob:
    return _any_convolution(layer, transposed=False)


def _deconvolution(layer: Layer) -> Blob:
    return _any_convolution(layer, transposed=True)


def _any_convolution(layer: Layer, *, transposed: bool) -> Blob:
    own = layer.fields.tree("convolution_param")
    outputs = layer.whole(own, "num_output", 0, 1)
    groups = layer.whole(own, "group", 1, 1)
    kernel = layer.pair(own, "kernel_size", 0, 1)
    bias = own.flag("bias_term", True)
    weights = layer.weights(1 + bias)
    stored = weights[0].shape[-2:]
    fits = weights[0].ndim < 4 or stored == kernel
    require(fits, f"kernel of Caffe layer {layer.name!r}", f"{kernel}, as defined", stored)
    fixed = (outputs // groups if transposed else outputs) * kernel[0] * kernel[1]
    other = weights[0].size // max(fixed, 1)  # the dimension that the definition does not say
    shape = (other, outputs // groups) if transposed else (outputs, other)
    weight = shaped(weights[0].reshape(-1), (*shape, *kernel), f"weight of {layer.name!r}")
    tensors = {"weight": weight}
    if bias:
        tensors["bias"] = weights[1].reshape(-1)
    return layer.add(
        "ConvTranspose2d" if transposed else "Conv2d",
        {
            "in_channels": other if transposed else other * groups,
            "out_channels": outputs,
            "kernel_size": kernel,
            "stride": layer.pair(own, "stride", 1, 1),
            "padding": layer.pair(own, "pad", 0, 0),
            "dilation": layer.pair(own, "dilation", 1, 1),
            "groups": groups,
            "bias": bias,
        },
        tensors,
    )


def _inner_product(layer: Layer) -> Blob:
    own = layer.fields.tree("inner_product_param")
    require(own.integer("axis", 1) == 1, f"axis of {layer.name!r}", "1", own.integer("axis", 1))
    outputs = layer.whole(own, "num_output", 0, 1)
    bias = own.flag("bias_term", True)
    weights = layer.weights(1 + bias)
    inputs = weights[0].size // outputs
    turned = own.flag("transpose", False)
    shape = (inputs, outputs) if turned else (outputs, inputs)
    weight = shaped(weights[0].reshape(-1), shape, f"weight of {layer.name!r}")
    tensors = {"weight": weight.T if turned else weight}
    if bias:
        tensors["bias"] = weights[1].reshape(-1)
    source = layer.read[0].node
    if not layer.read[0].flat:
        source = layer.assembly.add(f"{layer.name}/flatten", "Flatten", [source])
    options: dict[str, Option] = {"in_features": inputs, "out_features": outputs, "bias": bias}
    return Blob(layer.assembly.add(layer.name, "Linear", [source], options, tensors), flat=True)


def _batch_norm(layer: Layer) -> Blob:
    own = layer.fields.tree("batch_norm_param")
    require(
        len(layer.blobs) == 3 and layer.blobs[2].size == 1,
        f"weights of Caffe layer {layer.name!r}",
        "mean, variance and their factor",
        f"{len(layer.blobs)} blobs",
        hint="BigDL's writer of Caffe files loses a batch norm's statistics; "
        "load the network's own .bigdl file",
    )
    mean, variance, factor = (blob.reshape(-1) for blob in layer.blobs)
    scale = 0.0 if factor[0] == 0 else 1.0 / float(factor[0])
    with np.errstate(all="ignore"):  # a damaged file may hold anything
        tensors = {"running_mean": mean * scale, "running_var": variance * scale}
    return layer.add(
        "BatchNorm1d" if layer.read[0].flat else "BatchNorm2d",
        {
            "num_features": int(mean.size),
            "eps": own.real("eps", 1e-5),
            # Caffe's share of the old value; of PyTorch's new one.
            "momentum": 1 - own.real("moving_average_fraction", 0.999),
            "affine": False,
        },
        tensors,
    )


def _scale(layer: Layer) -> Blob:
    own = layer.fields.tree("scale_param")
    _per_channel(layer, own)
    bias = own.flag("bias_term", False)
    values = [blob.reshape(-1) for blob in layer.weights(1 + bias)]
    tensors = dict(zip(("weight", "bias"), values, strict=False))
    return layer.add("Affine", {"num_features": int(values[0].size), "bias": bias}, tensors)


def _bias(layer: Layer) -> Blob:
    _per_channel(layer, layer.fields.tree("bias_param"))
    values = layer.weights(1)[0].reshape(-1)
    options: dict[str, Option] = {"num_features": int(values.size), "scale": False}
    return layer.add("Affine", options, {"bias": values})


def _per_channel(layer: Layer, own: Tree) -> None:
    found = (len(layer.read), own.integer("axis", 1), own.integer("num_axes", 1))
    rule = "one bottom and one number per channel"
    require(found == (1, 1, 1), f"Caffe layer {layer.name!r}", rule, found)


def _pooling(layer: Layer) -> Blob:
    own = layer.fields.tree("pooling_param")
    method = {"0": "MAX", "1": "AVE"}.get(own.text("pool", "MAX"), own.text("pool", "MAX"))
    require(method in ("MAX", "AVE"), f"pool of {layer.name!r}", "MAX or AVE", method)
    if own.flag("global_pooling", False):
        if method == "MAX":
            return layer.add("AdaptiveMaxPool2d", {"output_size": 1})
        return layer.add("GlobalAveragePool", {"keepdim": True})
    kernel = layer.pair(own, "kernel_size", 0, 1)
    padding = layer.pair(own, "pad", 0, 0)
    require(
        all(2 * pad <= size for pad, size in zip(padding, kernel, strict=True)),
        f"pad of Caffe layer {layer.name!r}",
        "at most half of the kernel",
        padding,
    )
    return layer.add(
        "MaxPool2d" if method == "MAX" else "AvgPool2d",
        {
            "kernel_size": kernel,
            "stride": layer.pair(own, "stride", 1, 1),
            "padding": padding,
            "ceil_mode": own.text("round_mode", "CEIL") in ("CEIL", "0"),
        },
    )


def _lrn(layer: Layer) -> Blob:
    own = layer.fields.tree("lrn_param")
    region, size = own.text("norm_region", "ACROSS_CHANNELS"), own.integer("local_size", 5)
    rule = "ACROSS_CHANNELS"
    require(region in (rule, "0"), f"norm_region of Caffe layer {layer.name!r}", rule, region)
    require(0 < size < _LARGEST and size % 2 == 1, f"size of {layer.name!r}", "odd", size)
    alpha, beta, k = own.real("alpha", 1.0), own.real("beta", 0.75), own.real("k", 1.0)
    # Both divide alpha by the size.
    return layer.add("LocalResponseNorm", {"size": size, "alpha": alpha, "beta": beta, "k": k})


def _eltwise(layer: Layer) -> Blob:
    own = layer.fields.tree("eltwise_param")
    operation = own.text("operation", "SUM")
    if operation in ("PROD", "0"):
        return layer.add("Multiply")
    if operation in ("MAX", "2"):
        return layer.add("Maximum")
    require(operation in ("SUM", "1"), f"operation of {layer.name!r}", "SUM, PROD, MAX", operation)
    weights = own.reals("coeff")
    if all(weight == 1 for weight in weights):
        return layer.add("Add")
    rule = f"{len(layer.read)} numbers"
    require(len(weights) == len(layer.read), f"coeff of {layer.name!r}", rule, weights)
    return layer.add("WeightedSum", {"weights": tuple(weights)})


def _concat(layer: Layer) -> Blob:
    own = layer.fields.tree("concat_param")
    return layer.add("Concatenate", {"dim": own.integer("axis", own.integer("concat_dim", 1))})


def _relu(layer: Layer) -> Blob:
    slope = layer.fields.tree("relu_param").real("negative_slope", 0.0)
    return layer.add("LeakyReLU", {"negative_slope": slope}) if slope else layer.add("ReLU")


def _prelu(layer: Layer) -> Blob:
    values = layer.weights(1)[0].reshape(-1)
    return layer.add("PReLU", {"num_parameters": int(values.size)}, {"weight": values})


def _elu(layer: Layer) -> Blob:
    return layer.add("ELU", {"alpha": layer.fields.tree("elu_param").real("alpha", 1.0)})


def _power(layer: Layer) -> Blob:
    own = layer.fields.tree("power_param")
    names = {"power": 1.0, "scale": 1.0, "shift": 0.0}
    return layer.add("Power", {name: own.real(name, default) for name, default in names.items()})


def _dropout(layer: Layer) -> Blob:
    ratio = layer.fields.tree("dropout_param").real("dropout_ratio", 0.5)
    return layer.add("Dropout", {"p": ratio})


def _softmax(layer: Layer) -> Blob:
    return layer.add("Softmax", {"dim": layer.fields.tree("softmax_param").integer("axis", 1)})


def _flatten(layer: Layer) -> Blob:
    own = layer.fields.tree("flatten_param")
    ends = (own.integer("axis", 1), own.integer("end_axis", -1))
    require(ends == (1, -1), f"axes of Caffe layer {layer.name!r}", "1 and -1", ends)
    return layer.add("Flatten", flat=True)


def _reshape(layer: Layer) -> Blob:
    shape = layer.fields.tree("reshape_param").tree("shape").integers("dim")
    require(
        len(shape) > 1
        and shape[0] in (0, -1)
        and all(0 < size < _LARGEST or size == -1 for size in shape[1:])
        and shape.count(-1) <= 1,
        f"shape of Caffe layer {layer.name!r}",
        "0 (the batch) and then sizes, one of them -1",
        shape,
    )
    return layer.add("Reshape", {"shape": tuple(shape[1:])}, flat=len(shape) == 2)


def _plain(kind: str) -> Callable[[Layer], Blob]:
    return lambda layer: layer.add(kind)


LAYERS: Mapping[str, Callable[[Layer], Blob]] = MappingProxyType(
    {
        "BatchNorm": _batch_norm,
        "Bias": _bias,
        "Concat": _concat,
        "Convolution": _convolution,
        "Deconvolution": _deconvolution,
        "Dropout": _dropout,
        "ELU": _elu,
        "Eltwise": _eltwise,
        "Flatten": _flatten,
        "InnerProduct": _inner_product,
        "LRN": _lrn,
        "PReLU": _prelu,
        "Pooling": _pooling,
        "Power": _power,
        "ReLU": _relu,
        "Reshape": _reshape,
        "Scale": _scale,
        "Sigmoid": _plain("Sigmoid"),
        "Softmax": _softmax,
        "Split": _plain("Identity"),
        "TanH": _plain("Tanh"),
    }
)
"""By Caffe's name of the type."""
