"""Layers as data: what one was made with, read from it, and one made of that."""

import types
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from hilum.errors import InvalidValueError, require
from hilum.models.graph.layers import argument_names as names_in_signature
from hilum.models.traced.program import Layer, encoded
from hilum.models.traced.tables import layer_of, name_of_layer

__all__ = ["build", "description"]

_OF_RECURRENT = "input_size hidden_size num_layers bias batch_first dropout bidirectional".split()
_ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "RNN": (*_OF_RECURRENT, "nonlinearity"),
    "LSTM": (*_OF_RECURRENT, "proj_size"),
    "GRU": tuple(_OF_RECURRENT),
}
MAX_DEPTH = 1000
_DEPTHS = ("num_layers", "num_encoder_layers", "num_decoder_layers")
_PLAIN = (bool, int, float, str, tuple, torch.dtype, types.FunctionType, types.BuiltinFunctionType)


def description(layer: nn.Module) -> Layer:
    """The data of which `build` makes the layer again, but for its weights.

    Raises:
        InvalidValueError: it was changed after it was made, or is made with what is no data.
    """
    kind = name_of_layer(type(layer))
    if not kind:
        raise InvalidValueError(f"{type(layer).__name__} is no layer that can be described")
    options = {n: _as_data(value) for n, value in _options_of(kind, layer).items()}
    # What torch.nn makes inside its layers follows from the options; libraries take classes.
    parts = dict(layer.named_children()) if ":" in kind else {}
    described = Layer(
        kind=kind, options=options, parts={n: description(part) for n, part in parts.items()}
    )
    encoded(options)
    with torch.device("meta"):
        again = build(type(layer).__name__, described)
    _require_same(layer, again)
    return described


def build(path: str, layer: Layer) -> nn.Module:
    """Make a layer.

    Raises:
        InvalidValueError: options or parts that it does not take, or absurdly deep stacks.
    """
    depth = _depth(layer)
    hint = "stacks within stacks count as the product"
    require(depth <= MAX_DEPTH, f"depth of layer {path!r}", f"at most {MAX_DEPTH}", depth, hint)
    return _built(path, layer)


def _depth(layer: Layer) -> int:
    """How many layers it makes of each that is in it: a few bytes can ask for millions."""
    asked = [value for name, value in layer.options.items() if name in _DEPTHS]
    own = max(1, sum(max(number, 0) for number in asked if isinstance(number, int)))
    held = (*layer.options.values(), *layer.parts.values())
    return own * max(1, sum(_depth(one) for one in held if isinstance(one, Layer)))


def _built(path: str, layer: Layer) -> nn.Module:
    kind = layer_of(layer.kind)
    # A device, above all, would be filled before the sizes are known to be sane.
    extra = sorted(set(layer.options) - set(_argument_names(layer.kind)))
    require(not extra, f"options of layer {path!r}", f"those of {layer.kind}", ", ".join(extra))
    options = {
        name: _built(f"{path}.{name}", value) if isinstance(value, Layer) else value
        for name, value in layer.options.items()
    }
    try:
        with warnings.catch_warnings():  # who made the layer first was told
            warnings.simplefilter("ignore")
            built = kind(**options)
    except Exception as error:  # what a layer raises for options is up to PyTorch
        raise InvalidValueError(
            f"options of layer {path!r} must be those of {layer.kind}. "
            f"Got {dict(layer.options)}: {error}"
        ) from error
    for name, part in layer.parts.items():
        require(name in built._modules, f"parts of layer {path!r}", f"of {layer.kind}", name)
        built._modules[name] = _built(f"{path}.{name}", part)
    return built


def _argument_names(kind: str) -> tuple[str, ...]:
    return _ARGUMENTS.get(kind) or names_in_signature(layer_of(kind))


def _options_of(kind: str, layer: Any) -> dict[str, Any]:
    """The arguments a layer was made with, as far as its attributes tell."""
    if kind in _READERS:
        return _READERS[kind](layer)
    found = {}
    for name in _argument_names(kind):
        if not hasattr(layer, name):
            continue
        value = getattr(layer, name)
        # Of a layer with a bias the attribute is the bias itself.
        is_tensor = isinstance(value, torch.Tensor) or (name == "bias" and value is None)
        found[name] = value is not None if is_tensor else value
    return found


def _of_attention(layer: Any) -> dict[str, Any]:
    return {
        **{name: getattr(layer, name) for name in ("embed_dim", "num_heads", "dropout")},
        **{name: getattr(layer, name) for name in ("add_zero_attn", "kdim", "vdim", "batch_first")},
        "bias": layer.in_proj_bias is not None,
        "add_bias_kv": layer.bias_k is not None,
    }


def _of_block(layer: Any) -> dict[str, Any]:
    """Of a block of a transformer."""
    names = {functional.relu: "relu", functional.gelu: "gelu"}
    activation = layer.activation
    if not isinstance(activation, nn.Module):
        named = getattr(activation, "__name__", "function")
        hint = "give a layer of torch.nn, such as nn.SiLU()"
        require(activation in names, "activation", '"relu", "gelu" or a layer', named, hint=hint)
        activation = names[activation]
    return {
        "d_model": layer.self_attn.embed_dim,
        "nhead": layer.self_attn.num_heads,
        "dim_feedforward": layer.linear1.out_features,
        "dropout": layer.dropout.p,
        "activation": activation,
        "layer_norm_eps": layer.norm1.eps,
        "batch_first": layer.self_attn.batch_first,
        "norm_first": layer.norm_first,
        "bias": layer.linear1.bias is not None,
    }


def _of_encoder(layer: Any) -> dict[str, Any]:
    return {
        "encoder_layer": layer.layers[0],
        "num_layers": layer.num_layers,
        "norm": layer.norm,
        "enable_nested_tensor": layer.enable_nested_tensor,
        "mask_check": layer.mask_check,
    }


def _of_decoder(layer: Any) -> dict[str, Any]:
    return {"decoder_layer": layer.layers[0], "num_layers": layer.num_layers, "norm": layer.norm}


def _of_transformer(layer: Any) -> dict[str, Any]:
    return {
        **{name: getattr(layer, name) for name in ("d_model", "nhead", "batch_first")},
        "custom_encoder": layer.encoder,
        "custom_decoder": layer.decoder,
    }


_READERS: Mapping[str, Callable[[Any], dict[str, Any]]] = {
    "MultiheadAttention": _of_attention,
    "TransformerEncoderLayer": _of_block,
    "TransformerDecoderLayer": _of_block,
    "TransformerEncoder": _of_encoder,
    "TransformerDecoder": _of_decoder,
    "Transformer": _of_transformer,
}


def _as_data(value: Any) -> Any:
    return description(value) if isinstance(value, nn.Module) else value


def _require_same(layer: nn.Module, again: nn.Module) -> None:
    """Whatever is known of a layer has to be the same in the one that was made again."""
    old, new = dict(layer.named_modules()), dict(again.named_modules())
    same = old.keys() == new.keys() and all(
        type(old[name]) is type(new[name])
        and old[name].extra_repr() == new[name].extra_repr()
        and _shapes(old[name]) == _shapes(new[name])
        and _plain_attributes(old[name], new[name]) == _plain_attributes(new[name], new[name])
        for name in new
    )
    if not same:
        raise InvalidValueError("it was changed after it was made")


def _shapes(layer: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in layer.state_dict().items()}


def _plain_attributes(layer: nn.Module, like: nn.Module) -> dict[str, Any]:
    own = vars(layer)
    names = [n for n, v in vars(like).items() if n != "training" and isinstance(v, _PLAIN)]
    return {name: own.get(name) for name in names}
