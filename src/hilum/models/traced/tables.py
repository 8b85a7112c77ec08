"""What a traced network may be made of: layers, functions, methods and attributes, by name.

Tables and not `getattr(torch, name)`: what a file can have built and called is listed here. All of
it computes with tensors and plain values; none of it reads files, imports, or runs code that a file
brings. How large the tensors become that it makes, nobody can tell before it runs. What stands in
torchvision or timm is imported when it is needed.
"""

import importlib
import math
import operator
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.overrides import handle_torch_function, has_torch_function

from hilum.errors import MissingDependencyError, require
from hilum.models.traced.plain import ARITHMETIC, bounded, bounded_product

__all__ = [
    "ATTRIBUTES",
    "METHODS",
    "choose",
    "dtype_of",
    "function_of",
    "layer_of",
    "method_of",
    "name_of_dtype",
    "name_of_function",
    "name_of_layer",
]

_LAYERS = (
    "AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d AdaptiveMaxPool1d AdaptiveMaxPool2d "
    "AdaptiveMaxPool3d AlphaDropout AvgPool1d AvgPool2d AvgPool3d BatchNorm1d BatchNorm2d "
    "BatchNorm3d Bilinear CELU ChannelShuffle CircularPad1d CircularPad2d CircularPad3d "
    "ConstantPad1d ConstantPad2d ConstantPad3d Conv1d Conv2d Conv3d ConvTranspose1d "
    "ConvTranspose2d ConvTranspose3d CosineSimilarity Dropout Dropout1d Dropout2d Dropout3d ELU "
    "Embedding EmbeddingBag FeatureAlphaDropout Flatten Fold FractionalMaxPool2d "
    "FractionalMaxPool3d GELU GLU GRU GRUCell GroupNorm Hardshrink Hardsigmoid Hardswish Hardtanh "
    "Identity InstanceNorm1d InstanceNorm2d InstanceNorm3d LPPool1d LPPool2d LPPool3d LSTM "
    "LSTMCell LayerNorm LeakyReLU Linear LocalResponseNorm LogSigmoid LogSoftmax MaxPool1d "
    "MaxPool2d MaxPool3d MaxUnpool1d MaxUnpool2d MaxUnpool3d Mish MultiheadAttention PReLU "
    "PairwiseDistance PixelShuffle PixelUnshuffle RMSNorm RNN RNNCell RReLU ReLU ReLU6 "
    "ReflectionPad1d ReflectionPad2d ReflectionPad3d ReplicationPad1d ReplicationPad2d "
    "ReplicationPad3d SELU SiLU Sigmoid Softmax Softmax2d Softmin Softplus Softshrink Softsign "
    "SyncBatchNorm Tanh Tanhshrink Threshold Transformer TransformerDecoder "
    "TransformerDecoderLayer TransformerEncoder TransformerEncoderLayer Unflatten Unfold Upsample "
    "UpsamplingBilinear2d UpsamplingNearest2d ZeroPad1d ZeroPad2d ZeroPad3d"
)

_OF_TORCH = (
    "abs add addmm all amax amin any arange argmax argmin baddbmm bmm broadcast_tensors cat ceil "
    "chunk clamp clone concat cos cosine_similarity count_nonzero cross cumprod cumsum diag "
    "diagonal div dot dropout einsum empty empty_like eq erf exp expm1 eye flatten flip floor "
    "full full_like gather ge gt hstack index_select isfinite isinf isnan le lerp linspace log "
    "log1p log2 log_softmax logical_and logical_not logical_or logsumexp lt masked_fill matmul "
    "max maximum mean median meshgrid min minimum mm movedim mul multinomial narrow ne neg norm "
    "normal numel ones ones_like outer permute pow prod rand rand_like randint randn randn_like "
    "randperm reciprocal relu repeat_interleave reshape roll round rsqrt scatter sigmoid sign "
    "sin sinh softmax sort split sqrt square squeeze stack std std_mean sub sum swapaxes tan tanh "
    "tensor tensor_split tile topk transpose tril triu unbind unflatten unsqueeze var var_mean "
    "vstack where zeros zeros_like"
)
_OF_FUNCTIONAL = (
    "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d "
    "adaptive_max_pool2d adaptive_max_pool3d affine_grid alpha_dropout avg_pool1d avg_pool2d "
    "avg_pool3d batch_norm bilinear celu conv1d conv2d conv3d conv_transpose1d conv_transpose2d "
    "conv_transpose3d cosine_similarity dropout dropout1d dropout2d dropout3d elu embedding "
    "embedding_bag feature_alpha_dropout fold gelu glu grid_sample group_norm gumbel_softmax "
    "hardshrink hardsigmoid hardswish hardtanh instance_norm interpolate layer_norm leaky_relu "
    "linear local_response_norm log_softmax logsigmoid lp_pool1d lp_pool2d max_pool1d max_pool2d "
    "max_pool3d mish multi_head_attention_forward normalize one_hot pad pairwise_distance "
    "pixel_shuffle pixel_unshuffle prelu relu relu6 rms_norm rrelu scaled_dot_product_attention "
    "selu sigmoid silu softmax softmin softplus softshrink softsign tanh tanhshrink threshold "
    "unfold upsample"
)
_OF_OPERATOR = "eq ge getitem gt le lt ne not_ setitem"
_OF_MATH = "ceil exp floor log log2 pow prod sqrt"

# Those that end in "_" change their tensor, which keeps its size and storage.
_METHODS = (
    "abs add add_ addcmul all amax amin any argmax argmin baddbmm bernoulli bernoulli_ bmm bool "
    "chunk clamp clamp_ clamp_max clamp_min clone contiguous copy_ cos cumprod cumsum detach "
    "diagonal dim div div_ double eq exp exp_ expand expand_as fill_ flatten flip float floor "
    "gather ge gt half index_select int isnan lerp le log log1p log_softmax logical_not "
    "logsumexp long lt masked_fill masked_fill_ masked_select matmul max mean median min mm "
    "movedim mul mul_ narrow ndimension ne neg new_empty new_full new_ones new_zeros norm normal_ "
    "numel permute pow prod reciprocal relu relu_ repeat repeat_interleave reshape reshape_as roll "
    "round rsqrt scatter select sigmoid sigmoid_ sign sin size softmax sort split sqrt square "
    "squeeze std sub sub_ sum swapaxes swapdims t tanh tanh_ tile to topk transpose tril triu "
    "type_as unbind unflatten unfold uniform_ unsqueeze var view view_as where zero_"
)

_LIBRARY_LAYERS = frozenset(
    {
        "timm.layers:BatchNormAct2d",
        "timm.layers:Conv2dSame",
        "timm.layers:DropPath",
        "torchvision.ops:StochasticDepth",
    }
)
_LIBRARY_FUNCTIONS = frozenset(
    {"torchvision.models.swin_transformer:shifted_window_attention"},
)

_DTYPES: Mapping[str, torch.dtype] = MappingProxyType(
    {
        name: getattr(torch, name)
        for name in (
            "bool uint8 uint16 uint32 uint64 int8 int16 int32 int64 float16 bfloat16 float32 "
            "float64 complex64 complex128"
        ).split()
    }
)

ATTRIBUTES = frozenset({"T", "device", "dtype", "mT", "ndim", "shape"})
"""Attributes of tensors by name."""

METHODS: frozenset[str] = frozenset(_METHODS.split())
"""Methods of tensors by name."""


def choose(mode: bool, in_training: Any, in_evaluation: Any) -> Any:
    """What a module's mode chooses."""
    if has_torch_function((mode,)):  # a stand-in of torch.fx
        return handle_torch_function(choose, (mode,), mode, in_training, in_evaluation)
    return in_training if mode else in_evaluation


def _attribute(value: Any, name: str) -> Any:
    require(name in ATTRIBUTES, "attribute", f"one of {', '.join(sorted(ATTRIBUTES))}", name)
    return getattr(value, name)


def _named(prefix: str, module: Any, names: str) -> dict[str, Callable[..., Any]]:
    return {f"{prefix}.{name}": getattr(module, name) for name in names.split()}


_ORIGINALS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        **_named("torch", torch, _OF_TORCH),
        **_named("functional", functional, _OF_FUNCTIONAL),
        **_named("operator", operator, f"{ARITHMETIC} {_OF_OPERATOR}"),
        **_named("math", math, _OF_MATH),
        "getattr": _attribute,
        "choose": choose,
    }
)
_NAMES: Mapping[Any, str] = MappingProxyType(
    {**{function: name for name, function in _ORIGINALS.items()}, getattr: "getattr"}
)
_FUNCTIONS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        **_ORIGINALS,
        **{name: bounded(one) for name, one in _named("operator", operator, ARITHMETIC).items()},
        "math.prod": bounded_product(math.prod),
        # What lay in memory before is nobody's to see.
        "torch.empty": torch.zeros,
        "torch.empty_like": torch.zeros_like,
    }
)
_CALLED: Mapping[str, str] = MappingProxyType({"new_empty": "new_zeros"})
_LAYER_TABLE: Mapping[str, type[nn.Module]] = MappingProxyType(
    {name: getattr(nn, name) for name in _LAYERS.split()}
)


def layer_of(name: str) -> type[nn.Module]:
    """A class of layers by its name: that of torch.nn, or "package.module:Class".

    Raises:
        InvalidValueError: it is in no table.
        MissingDependencyError: its library is not installed.
    """
    if name in _LIBRARY_LAYERS:
        found: type[nn.Module] = _imported(name)
        return found
    require(name in _LAYER_TABLE, "layer", "one of torch.nn that is known", name)
    return _LAYER_TABLE[name]


def function_of(name: str) -> Callable[..., Any]:
    """A function by its name.

    Raises:
        InvalidValueError: it is in no table.
        MissingDependencyError: its library is not installed.
    """
    if name in _LIBRARY_FUNCTIONS:
        found: Callable[..., Any] = _imported(name)
        return found
    require(name in _FUNCTIONS, "function", "one that is known", name)
    return _FUNCTIONS[name]


def dtype_of(name: str) -> torch.dtype:
    """A dtype by its name.

    Raises:
        InvalidValueError: it is in no table.
    """
    require(name in _DTYPES, "dtype", f"one of {', '.join(_DTYPES)}", name)
    return _DTYPES[name]


def method_of(name: str) -> str:
    """The name of what is called for a method of tensors."""
    return _CALLED.get(name, name)


def name_of_dtype(dtype: torch.dtype) -> str:
    """The inverse of `dtype_of`.

    Raises:
        InvalidValueError: it is in no table.
    """
    name = str(dtype).removeprefix("torch.")
    require(name in _DTYPES, "dtype", f"one of {', '.join(_DTYPES)}", name)
    return name


def name_of_layer(kind: type[nn.Module]) -> str:
    """The inverse of `layer_of`; "" for a class in no table."""
    if _LAYER_TABLE.get(kind.__name__) is kind:
        return kind.__name__
    package = kind.__module__.partition(".")[0]
    ending = f":{kind.__name__}"
    known = [n for n in _LIBRARY_LAYERS if n.startswith(f"{package}.") and n.endswith(ending)]
    return next((name for name in known if _imported(name) is kind), "")


def name_of_function(function: Any) -> str:
    """The inverse of `function_of`; "" for one in no table."""
    try:
        name = _NAMES.get(function, "")
    except TypeError:  # it has no hash
        return ""
    # By its name: while torch.fx follows a network, something else stands in the library.
    own = f"{getattr(function, '__module__', '')}:{getattr(function, '__qualname__', '')}"
    return name or (own if own in _LIBRARY_FUNCTIONS else "")


def _imported(name: str) -> Any:
    path, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(path), attribute)
    except (ImportError, AttributeError) as error:
        package = path.partition(".")[0]
        raise MissingDependencyError(
            f"This network has a part of {package} ({name}) that is not installed: {error}. "
            f"Hint: pip install {package}"
        ) from error
