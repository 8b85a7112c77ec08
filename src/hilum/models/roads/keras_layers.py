"""Layers of Keras that see images, as layers of PyTorch.

Keras keeps images as (N, H, W, C), PyTorch as (N, C, H, W). Values of rank 4 are turned once, by
the reader: kernels are transposed here, axis -1 becomes dimension 1, and what looks at the order of
numbers (Flatten, Reshape, Permute) gets it in Keras's order. Other ranks are as in Keras.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from hilum.errors import require
from hilum.models.graph.spec import Option
from hilum.models.roads.assembly import Array
from hilum.models.roads.keras_activations import activated
from hilum.models.roads.keras_layer import IMAGE_RANK, Layer, Value
from hilum.models.roads.spatial import NO_BORDER, convolve, pool

__all__ = ["IMAGE_LAYERS"]

_TO_KERAS, _FROM_KERAS = (0, 2, 3, 1), (0, 3, 1, 2)


def _convolution(layer: Layer, values: Sequence[Value]) -> Value:
    value = layer.one(values)
    layer.image(value)
    names = ["kernel", *_bias_names(layer)]
    found = dict(zip(names, layer.read(*names), strict=True))
    groups = int(layer.config.get("groups", 1))
    return _convolve(layer, value, found, _kernel(layer, found.pop("kernel"), (3, 2, 0, 1)), groups)


def _kernel(layer: Layer, kernel: Array, order: Sequence[int]) -> Array:
    require(kernel.ndim == 4, f"kernel of layer {layer.name!r}", "of rank 4", kernel.ndim)
    return kernel.transpose(order)


def _bias_names(layer: Layer) -> list[str]:
    return ["bias"] if layer.config.get("use_bias", True) else []


def _convolve(
    layer: Layer, value: Value, bias: Mapping[str, Array], weight: Array, groups: int
) -> Value:
    def build(part: str) -> Value:
        node = convolve(
            layer.assembly,
            f"{layer.name}/{part}" if part else layer.name,
            value.node,
            tensors={"weight": weight, **bias},
            stride=layer.pair("strides"),
            border=layer.border(),
            dilation=layer.pair("dilation_rate"),
            groups=groups,
        )
        return Value(node, IMAGE_RANK)

    return activated(layer, build)


def _depthwise(layer: Layer, values: Sequence[Value]) -> Value:
    value = layer.one(values)
    layer.image(value)
    first = "kernel" if layer.major >= 3 else "depthwise_kernel"
    names = [first, *_bias_names(layer)]
    found = dict(zip(names, layer.read(*names), strict=True))
    weight, channels = _by_channel(layer, found.pop(first))
    return _convolve(layer, value, found, weight, channels)


def _by_channel(layer: Layer, kernel: Array) -> tuple[Array, int]:
    """(height, width, channels, times) as PyTorch has it: (channels * times, 1, height, width)."""
    turned = _kernel(layer, kernel, (2, 3, 0, 1))
    channels, times, height, width = turned.shape
    return turned.reshape(channels * times, 1, height, width), channels


def _separable(layer: Layer, values: Sequence[Value]) -> Value:
    value = layer.one(values)
    layer.image(value)
    names = ["depthwise_kernel", "pointwise_kernel", *_bias_names(layer)]
    found = dict(zip(names, layer.read(*names), strict=True))
    weight, channels = _by_channel(layer, found.pop("depthwise_kernel"))
    node = convolve(
        layer.assembly,
        f"{layer.name}/depthwise",
        value.node,
        tensors={"weight": weight},
        stride=layer.pair("strides"),
        border=layer.border(),
        dilation=layer.pair("dilation_rate"),
        groups=channels,
    )
    pointwise = _kernel(layer, found.pop("pointwise_kernel"), (3, 2, 0, 1))

    def build(part: str) -> Value:
        name = f"{layer.name}/{part}" if part else layer.name
        tensors = {"weight": pointwise, **found}
        done = convolve(
            layer.assembly, name, node, tensors=tensors, stride=(1, 1), border=NO_BORDER
        )
        return Value(done, IMAGE_RANK)

    return activated(layer, build)


def _transposed(layer: Layer, values: Sequence[Value]) -> Value:
    value = layer.one(values)
    layer.image(value)
    names = ["kernel", *_bias_names(layer)]
    found = dict(zip(names, layer.read(*names), strict=True))
    weight = _kernel(layer, found.pop("kernel"), (3, 2, 0, 1))
    kernel, stride = (weight.shape[2], weight.shape[3]), layer.pair("strides")
    what = f"kernel of layer {layer.name!r}"
    require(all(k >= s for k, s in zip(kernel, stride, strict=True)), what, "no less than", stride)
    plain = layer.pair("dilation_rate") == (1, 1) and layer.config.get("output_padding") is None
    require(plain, f"layer {layer.name!r}", "without dilation and output_padding", "one")
    cut = [k - s if layer.border() == "SAME" else 0 for k, s in zip(kernel, stride, strict=True)]
    options: dict[str, Option] = {
        "in_channels": weight.shape[0],
        "out_channels": weight.shape[1],
        "kernel_size": kernel,
        "stride": stride,
        "bias": bool(found),
    }

    def build(part: str) -> Value:
        tensors = {"weight": weight, **found}
        if not any(cut):
            return layer.add("ConvTranspose2d", value, options=options, tensors=tensors, part=part)
        whole = layer.add("ConvTranspose2d", value, options=options, tensors=tensors, part="uncut")
        height, width = ((-(c // 2), -(c - c // 2)) for c in cut)
        return layer.add("Pad", whole, options={"padding": (*width, *height)}, part=part)

    return activated(layer, build)


def _dense(layer: Layer, values: Sequence[Value]) -> Value:
    value = layer.one(values)
    names = ["kernel", *_bias_names(layer)]
    found = dict(zip(names, layer.read(*names), strict=True))
    kernel = found.pop("kernel")
    require(kernel.ndim == 2, f"kernel of layer {layer.name!r}", "of rank 2", kernel.ndim)
    weight = kernel.T

    def build(part: str) -> Value:
        if value.rank == IMAGE_RANK:  # on the channels of every pixel
            name = f"{layer.name}/{part}" if part else layer.name
            tensors = {"weight": weight[:, :, None, None], **found}
            node = convolve(
                layer.assembly,
                name,
                value.node,
                tensors=tensors,
                stride=(1, 1),
                border=NO_BORDER,
            )
            return Value(node, IMAGE_RANK)
        options: dict[str, Option] = {
            "in_features": weight.shape[1],
            "out_features": weight.shape[0],
            "bias": bool(found),
        }
        tensors = {"weight": weight, **found}
        return layer.add("Linear", value, options=options, tensors=tensors, part=part)

    return activated(layer, build)


def _pooling(kind: str) -> Callable[[Layer, Sequence[Value]], Value]:
    def build(layer: Layer, values: Sequence[Value]) -> Value:
        value = layer.one(values)
        layer.image(value)
        kernel = layer.pair("pool_size", 2)
        stride = layer.pair("strides") if layer.config.get("strides") is not None else kernel
        node = pool(
            layer.assembly,
            layer.name,
            value.node,
            kind="MaxPool2d" if kind == "max" else "AvgPool2d",
            kernel=kernel,
            stride=stride,
            border=layer.border(),
        )
        return Value(node, IMAGE_RANK)

    return build


def _global_average(layer: Layer, values: Sequence[Value]) -> Value:
    value = layer.one(values)
    layer.image(value)
    keep = bool(layer.config.get("keepdims", False))
    rank = IMAGE_RANK if keep else 2
    return layer.add("GlobalAveragePool", value, options={"keepdim": keep}, rank=rank)


def _global_maximum(layer: Layer, values: Sequence[Value]) -> Value:
    value = layer.one(values)
    layer.image(value)
    if layer.config.get("keepdims", False):
        return layer.add("AdaptiveMaxPool2d", value, options={"output_size": 1})
    pooled = layer.add("AdaptiveMaxPool2d", value, options={"output_size": 1}, part="pool")
    return layer.add("Flatten", pooled, rank=2)


def _in_keras_order(layer: Layer, value: Value) -> Value:
    if value.rank != IMAGE_RANK:
        return value
    return layer.add("Permute", value, options={"dims": _TO_KERAS}, part="channels_last")


def _flatten(layer: Layer, values: Sequence[Value]) -> Value:
    value = layer.one(values)
    return layer.add("Flatten", _in_keras_order(layer, value), rank=2)


def _reshape(layer: Layer, values: Sequence[Value]) -> Value:
    value = _in_keras_order(layer, layer.one(values))
    shape = layer.config["target_shape"]
    right = isinstance(shape, list) and all(type(n) is int and n >= -1 for n in shape)
    require(right, f"target_shape of layer {layer.name!r}", "whole numbers", shape)
    rank = len(shape) + 1
    if rank != IMAGE_RANK:
        return layer.add("Reshape", value, options={"shape": shape}, rank=rank)
    turned = layer.add("Reshape", value, options={"shape": shape}, rank=rank, part="channels_last")
    return layer.add("Permute", turned, options={"dims": _FROM_KERAS})


def _permute(layer: Layer, values: Sequence[Value]) -> Value:
    value = _in_keras_order(layer, layer.one(values))
    dims = layer.config["dims"]
    right = isinstance(dims, list) and sorted(dims) == list(range(1, value.rank))
    require(right, f"dims of layer {layer.name!r}", "every dimension once", dims)
    if value.rank != IMAGE_RANK:
        return layer.add("Permute", value, options={"dims": (0, *dims)})
    turned = layer.add("Permute", value, options={"dims": (0, *dims)}, part="permuted")
    return layer.add("Permute", turned, options={"dims": _FROM_KERAS})


def _border_layer(sign: int, key: str) -> Callable[[Layer, Sequence[Value]], Value]:
    def build(layer: Layer, values: Sequence[Value]) -> Value:
        value = layer.one(values)
        layer.image(value)
        widths = layer.config[key]
        if isinstance(widths, int):
            widths = [[widths, widths], [widths, widths]]
        flat = [n for pair in widths for n in (pair if isinstance(pair, list) else [pair, pair])]
        right = len(flat) == 4 and all(type(n) is int and 0 <= n < 1 << 20 for n in flat)
        require(right, f"{key} of layer {layer.name!r}", "whole numbers", widths)
        top, bottom, left, right_edge = (sign * n for n in flat)
        return layer.add("Pad", value, options={"padding": (left, right_edge, top, bottom)})

    return build


def _upsampling(layer: Layer, values: Sequence[Value]) -> Value:
    value = layer.one(values)
    layer.image(value)
    mode = layer.config.get("interpolation", "nearest")
    known = mode in ("nearest", "bilinear")
    require(known, f"interpolation of layer {layer.name!r}", "nearest or bilinear", mode)
    size = layer.pair("size", 2)
    options: dict[str, Option] = {"scale_factor": tuple(map(float, size)), "mode": mode}
    if mode == "bilinear":
        options["align_corners"] = False
    return layer.add("Upsample", value, options=options)


def _dropout(kind: str) -> Callable[[Layer, Sequence[Value]], Value]:
    def build(layer: Layer, values: Sequence[Value]) -> Value:
        rate = float(layer.config.get("rate", 0.5))
        right = math.isfinite(rate) and 0 <= rate < 1
        require(right, f"rate of layer {layer.name!r}", "between 0 and 1", rate)
        return layer.add(kind, layer.one(values), options={"p": rate})

    return build


def _nothing(layer: Layer, values: Sequence[Value]) -> Value:
    return layer.add("Identity", layer.one(values))


IMAGE_LAYERS: Mapping[str, Callable[[Layer, Sequence[Value]], Value]] = MappingProxyType(
    {
        "AveragePooling2D": _pooling("average"),
        "Conv2D": _convolution,
        "Conv2DTranspose": _transposed,
        "Cropping2D": _border_layer(-1, "cropping"),
        "Dense": _dense,
        "DepthwiseConv2D": _depthwise,
        "Dropout": _dropout("Dropout"),
        "Flatten": _flatten,
        "GlobalAveragePooling2D": _global_average,
        "GlobalMaxPooling2D": _global_maximum,
        "MaxPooling2D": _pooling("max"),
        "Permute": _permute,
        "Reshape": _reshape,
        "SeparableConv2D": _separable,
        "SpatialDropout2D": _dropout("Dropout2d"),
        "UpSampling2D": _upsampling,
        "ZeroPadding2D": _border_layer(1, "padding"),
    }
    # What acts in training alone: noise and augmentation, which the engine brings itself.
    | dict.fromkeys(
        (
            "ActivityRegularization",
            "GaussianDropout",
            "GaussianNoise",
            "Identity",
            "RandomBrightness",
            "RandomContrast",
            "RandomFlip",
            "RandomRotation",
            "RandomTranslation",
            "RandomZoom",
            "StochasticDepth",
        ),
        _nothing,
    )
)
"""Kinds by the names of their classes."""
