"""What each kind of BigDL module is in PyTorch; one function per kind, all in the table MODULES.

The arithmetic is that of com.intel.analytics.bigdl.nn, which follows Lua Torch: dimensions count
from 1 and include the batch, borders of -1 mean "SAME", averages count their border.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from hilum.errors import require
from hilum.models.graph.spec import Option
from hilum.models.roads.assembly import Array, shaped
from hilum.models.roads.bigdl_definition import Module, Network
from hilum.models.roads.spatial import Border, convolve, pool

__all__ = ["MODULES"]

_SAME = -1


@dataclass(frozen=True, slots=True)
class _Place:
    """A module that becomes nodes: where to, and what it reads."""

    module: Module
    read: Sequence[str]
    network: Network

    def add(
        self,
        layer: str,
        options: Mapping[str, Option] | None = None,
        tensors: Mapping[str, Array] | None = None,
    ) -> str:
        return self.network.assembly.add(self.module.name, layer, self.read, options, tensors)

    def parameters(self, shape: Sequence[int], *, always: bool = True) -> dict[str, Array]:
        """Weight in this shape, and bias where there is one; none at all unless `always`."""
        found = self.module.parameters(self.network.storages)
        name = f"parameters of BigDL module {self.module.name!r}"
        require(1 <= len(found) <= 2 or not (found or always), name, "weight and bias", len(found))
        tensors = dict(zip(("weight", "bias"), found, strict=False))
        if found:
            tensors["weight"] = shaped(found[0], shape, f"weight of {self.module.name!r}")
        return tensors

    def one(self) -> str:
        kind = self.module.kind
        rule = "with one input"
        require(len(self.read) == 1, f"{kind} {self.module.name!r}", rule, len(self.read))
        return self.read[0]


def _convolution(place: _Place) -> str:
    module = place.module
    dilated = module.kind == "SpatialDilatedConvolution"
    kernel, stride = (("kH", "kW"), ("dH", "dW")) if dilated else _LONG_NAMES
    inputs, outputs = (module.integer(f"n{side}Plane", 0, 1) for side in ("Input", "Output"))
    groups = module.integer("nGroup", 1, 1)
    shape = (outputs, inputs // groups, *(module.integer(name, 0, 1) for name in kernel))
    rows, columns = module.integer("padH", 0), module.integer("padW", 0)
    return convolve(
        place.network.assembly,
        module.name,
        place.one(),
        tensors=place.parameters(shape),
        stride=_pair(module, stride, 1),
        border=_border(rows, columns),
        dilation=_pair(module, ("dilationH", "dilationW"), 1),
        groups=groups,
    )


_LONG_NAMES = (("kernelH", "kernelW"), ("strideH", "strideW"))


def _pair(module: Module, names: tuple[str, str], default: int) -> tuple[int, int]:
    return module.integer(names[0], default, 1), module.integer(names[1], default, 1)


def _border(rows: int, columns: int) -> Border:
    same = rows == columns == _SAME
    return "SAME" if same else (rows, rows, columns, columns)


def _max_pool(place: _Place) -> str:
    return _pool(place, average=False)


def _average_pool(place: _Place) -> str:
    if place.module.flag("globalPooling", False):
        return place.add("GlobalAveragePool", {"keepdim": True})
    return _pool(place, average=True)


def _pool(place: _Place, *, average: bool) -> str:
    module = place.module
    kernel, stride = _pair(module, ("kH", "kW"), 0), _pair(module, ("dH", "dW"), 1)
    require(
        module.flag("divide", True), f"BigDL module {module.name!r}", "an average", "a sum (divide)"
    )
    return pool(
        place.network.assembly,
        module.name,
        place.one(),
        kind="AvgPool2d" if average else "MaxPool2d",
        kernel=kernel,
        stride=stride,
        border=_border(module.integer("padH", 0), module.integer("padW", 0)),
        ceil_mode=module.flag("ceilMode" if average else "ceil_mode", False),
        count_border=average and module.flag("countIncludePad", True),
    )


def _batch_norm(place: _Place) -> str:
    module = place.module
    spatial = module.kind == "SpatialBatchNormalization"
    features = module.integer("nOutput", 0, 1)
    affine = module.flag("affine", True)
    tensors = place.parameters((features,), always=affine)
    for buffer, name in (("running_mean", "runningMean"), ("running_var", "runningVar")):
        tensors[buffer] = module.tensor(name, place.network.storages)
    return place.add(
        "BatchNorm2d" if spatial else "BatchNorm1d",
        {
            "num_features": features,
            "eps": module.real("eps", 1e-5),
            "momentum": module.real("momentum", 0.1),
            "affine": affine,
        },
        tensors,
    )


def _linear(place: _Place) -> str:
    inputs, outputs = (place.module.integer(name, 0, 1) for name in ("inputSize", "outputSize"))
    tensors = place.parameters((outputs, inputs))
    options: dict[str, Option] = {"in_features": inputs, "out_features": outputs}
    return place.add("Linear", {**options, "bias": "bias" in tensors}, tensors)


def _lrn(place: _Place) -> str:
    module = place.module
    size = module.integer("size", 5, 1)
    require(size % 2 == 1, f"size of BigDL module {module.name!r}", "odd", size)
    rates = {name: module.real(name, default) for name, default in _LRN_DEFAULTS.items()}
    return place.add("LocalResponseNorm", {"size": size, **rates})


_LRN_DEFAULTS = {"alpha": 1.0, "beta": 0.75, "k": 1.0}


def _join(place: _Place) -> str:
    dimension, sample = place.module.integer("dimension", 0), place.module.integer("nInputDims", 0)
    if dimension < 0:
        return place.add("Concatenate", {"dim": dimension})
    # Samples of one dimension (features) or three (images) come with a batch before them.
    return place.add("Concatenate", {"dim": dimension - (0 if sample in (1, 3) else 1)})


def _shape(place: _Place) -> str:
    """View, Reshape, InferReshape: sizes of an item, or of a batch if the first is -1 or 0."""
    module = place.module
    sizes = module.integers("sizes" if module.kind == "View" else "size")
    whole_batch = module.kind == "Reshape" and module.integer("batchMode", 0) == 1
    infers = module.kind == "InferReshape" and not module.flag("batchMode", False)
    first = sizes[:1]
    if whole_batch or infers or (module.kind == "View" and _SAME in sizes):
        rule = "a shape that begins with the batch (-1) and has all other sizes"
        known = whole_batch or first in ([-1], [0])
        require(known and len(sizes) > 1, f"BigDL module {module.name!r}", rule, sizes)
        sizes = sizes[1:]
    rule = "a shape with at most one size open"
    sane = all(size > 0 or size == -1 for size in sizes) and sizes.count(-1) <= 1 <= len(sizes)
    require(sane, f"BigDL module {module.name!r}", rule, sizes)
    return place.add("Reshape", {"shape": tuple(sizes)})


def _squeeze(place: _Place) -> str:
    module = place.module
    shift = 0 if module.flag("batchMode", False) else 1
    dims = [dim - shift for dim in module.integers("dims")]
    rule = "dimensions behind the batch"
    require(all(0 < dim < 8 for dim in dims), f"BigDL module {module.name!r}", rule, dims)
    return place.add("Squeeze", {"dims": tuple(dims) or None})


def _mean(place: _Place) -> str:
    module = place.module
    dimension, sample = module.integer("dimension", 1), module.integer("nInputDims", -1)
    dim = dimension if dimension < 0 else dimension - (0 if sample > 0 else 1)
    require(dim != 0, f"BigDL module {module.name!r}", "a mean of an image, not of the batch", dim)
    return place.add("Mean", {"dims": (dim,), "keepdim": not module.flag("squeeze", True)})


def _scale(place: _Place) -> str:
    parts = [place.module.inner(name) for name in ("cmul", "cadd")]
    found = place.module.parameters(place.network.storages) or [
        parameter for part in parts for parameter in part.parameters(place.network.storages)
    ]
    return _affine(place, dict(zip(("weight", "bias"), found, strict=True)))


def _factor(place: _Place) -> str:
    name = "weight" if place.module.kind == "CMul" else "bias"
    found = place.module.parameters(place.network.storages)
    return _affine(place, dict(zip((name,), found, strict=False)))


def _affine(place: _Place, tensors: Mapping[str, Array]) -> str:
    module = place.module
    size = module.integers("size") or [module.integer("inputSize", 0)]
    channels = max(size)
    # (C), (1, C, 1, 1) or (C, 1, 1): one number per channel in all of them.
    place_of_channels = 0 if len(size) in (1, 3) else 1
    require(
        len(size) > place_of_channels
        and size[place_of_channels] == channels == abs(math.prod(size))
        and bool(tensors),
        f"BigDL module {module.name!r}",
        "one number per channel",
        size,
    )
    options: dict[str, Option] = {"num_features": channels}
    options |= {"scale": "weight" in tensors, "bias": "bias" in tensors}
    return place.add("Affine", options, tensors)


def _threshold(place: _Place) -> str:
    found = (place.module.real("th", 1e-6), place.module.real("v", 0.0))
    require(found == (0, 0), f"BigDL module {place.module.name!r}", "a threshold of 0", found)
    return place.add("ReLU")


def _prelu(place: _Place) -> str:
    tensors = place.parameters((max(1, place.module.integer("nOutputPlane", 0)),))
    return place.add("PReLU", {"num_parameters": int(tensors["weight"].size)}, tensors)


def _zero_padding(place: _Place) -> str:
    sides = ("padLeft", "padRight", "padTop", "padBottom")
    return place.add("Pad", {"padding": tuple(place.module.integer(side, 0) for side in sides)})


def _reals(layer: str, **names: tuple[str, float]) -> Callable[[_Place], str]:
    """A layer whose options are numbers of the module: option=(attribute, default)."""
    return lambda place: place.add(
        layer, {option: place.module.real(*attribute) for option, attribute in names.items()}
    )


def _plain(layer: str, **options: Option) -> Callable[[_Place], str]:
    return lambda place: place.add(layer, options)


_BY_KIND: dict[str, Callable[[_Place], str]] = {
    "Add": _factor,
    "AddConstant": _reals("Power", shift=("constant_scalar", 0.0)),
    "BatchNormalization": _batch_norm,
    "CAdd": _factor,
    "CAddTable": _plain("Add"),
    "CMaxTable": _plain("Maximum"),
    "CMul": _factor,
    "CMulTable": _plain("Multiply"),
    "CSubTable": _plain("WeightedSum", weights=(1.0, -1.0)),
    "Contiguous": _plain("Identity"),
    "Dropout": _reals("Dropout", p=("initP", 0.5)),
    "ELU": _reals("ELU", alpha=("alpha", 1.0)),
    "Echo": _plain("Identity"),
    "HardTanh": _reals("Hardtanh", min_val=("minValue", -1.0), max_val=("maxValue", 1.0)),
    "Identity": _plain("Identity"),
    "InferReshape": _shape,
    "JoinTable": _join,
    "LeakyReLU": _reals("LeakyReLU", negative_slope=("negval", 0.01)),
    "Linear": _linear,
    "LogSoftMax": _plain("LogSoftmax", dim=1),
    "Mean": _mean,
    "MulConstant": _reals("Power", scale=("constant", 1.0)),
    "PReLU": _prelu,
    "Power": _reals("Power", power=("power", 1.0), scale=("scale", 1.0), shift=("shift", 0.0)),
    "ReLU": _plain("ReLU"),
    "ReLU6": _plain("ReLU6"),
    "Reshape": _shape,
    "Scale": _scale,
    "Sigmoid": _plain("Sigmoid"),
    "SoftMax": _plain("Softmax", dim=1),
    "SpatialAveragePooling": _average_pool,
    "SpatialBatchNormalization": _batch_norm,
    "SpatialConvolution": _convolution,
    "SpatialCrossMapLRN": _lrn,
    "SpatialDilatedConvolution": _convolution,
    "SpatialDropout2D": _reals("Dropout2d", p=("initP", 0.5)),
    "SpatialMaxPooling": _max_pool,
    "SpatialShareConvolution": _convolution,
    "SpatialZeroPadding": _zero_padding,
    "Squeeze": _squeeze,
    "Tanh": _plain("Tanh"),
    "Threshold": _threshold,
    "View": _shape,
}


def _at(add: Callable[[_Place], str]) -> Callable[[Module, Sequence[str], Network], str]:
    return lambda module, read, network: add(_Place(module, read, network))


MODULES: Mapping[str, Callable[[Module, Sequence[str], Network], str]] = MappingProxyType(
    {kind: _at(add) for kind, add in _BY_KIND.items()}
)
"""By the name of their class: each adds nodes and returns the name of the last."""
