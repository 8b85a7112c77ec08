"""The Python type of the value that a node of torch.fx stands for, where that is sure."""

import operator
from typing import Any

import torch
from torch import fx, nn

from hilum.models.traced.tables import METHODS, choose, name_of_function

__all__ = ["type_of", "type_of_layer"]

_ARITHMETIC = frozenset(
    getattr(operator, name)
    for name in (
        *("add", "and_", "floordiv", "matmul", "mod", "mul", "or_", "pow", "sub", "truediv"),
        *("iadd", "iand", "ifloordiv", "imatmul", "imod", "imul", "ior", "ipow", "isub"),
        *("itruediv", "ixor", "xor", "neg", "pos", "abs", "invert", "eq", "ge", "gt", "le"),
        *("lt", "ne"),
    )
)
_OF_INTEGERS = frozenset(
    (operator.add, operator.sub, operator.mul, operator.floordiv, operator.mod, operator.neg)
)
_OF_MATH = {
    **dict.fromkeys(("math.exp", "math.log", "math.log2", "math.sqrt", "math.pow"), float),
    **dict.fromkeys(("math.ceil", "math.floor"), int),
}
_ATTRIBUTES = {
    **{"shape": torch.Size, "ndim": int, "T": torch.Tensor, "mT": torch.Tensor},
    **{"device": torch.device, "dtype": torch.dtype},
}
_COUNTS = ("dim", "ndimension", "numel")
_SEQUENCES = ("broadcast_tensors", "chunk", "meshgrid", "split", "tensor_split", "unbind")
_BY_ARGUMENTS = ("max", "median", "min")
# A tensor or several, or what is not sure.
_OTHERS = ("multi_head_attention_forward", "sort", "std_mean", "topk", "var_mean", "where")
_TUPLES = ("GRU", "LSTM", "LSTMCell", "MultiheadAttention", "RNN")


def type_of_layer(layer: nn.Module, args: Any) -> type | None:
    """The type of what a layer of the table gives."""
    name = type(layer).__name__
    if name == "Identity":
        return type_of(args[0]) if args and isinstance(args[0], fx.Node) else None
    several = name in _TUPLES or getattr(layer, "return_indices", False)
    return tuple if several else torch.Tensor


def type_of(node: fx.Node) -> type | None:
    """The type of the value of a node, None for one that is not sure."""
    if "type" not in node.meta:
        node.meta["type"] = _type_of(node)
    found: type | None = node.meta["type"]
    return found


def _type_of(node: fx.Node) -> type | None:
    if node.op in ("placeholder", "get_attr"):
        return torch.Tensor
    if node.op == "call_method":
        name = str(node.target)
        is_method = name in METHODS and _type(node.args[0]) is torch.Tensor
        return _of_call(name, node) if is_method else None
    return _of_function(node) if node.op == "call_function" else None


def _of_function(node: fx.Node) -> type | None:
    if node.target is getattr:
        known = _type(node.args[0]) is torch.Tensor
        return _ATTRIBUTES.get(str(node.args[1])) if known else None
    if node.target is operator.getitem:
        return _type_within(node.args[0], node.args[1])
    if node.target is choose:
        ours, theirs = map(_type, node.args[1:])
        return ours if ours is theirs else None
    if node.target in _ARITHMETIC:
        return _of_arithmetic(node)
    name = name_of_function(node.target)
    package, _, own = name.partition(".")
    if package in ("torch", "functional"):
        return _of_call(own, node)
    return torch.Tensor if ":" in name else _OF_MATH.get(name)


def _of_call(name: str, node: fx.Node) -> type | None:
    """Of a function of tensors or a method of a tensor."""
    if name == "size":
        return int if len(node.args) > 1 or node.kwargs else torch.Size
    if name in _COUNTS:
        return int
    if name in _SEQUENCES:
        return tuple
    if name in _BY_ARGUMENTS:
        return torch.Tensor if len(node.args) == 1 and not node.kwargs else None
    if "max_pool" in name:
        flags = (*node.args[4:], node.kwargs.get("return_indices", False))
        return None if any(flag is not False for flag in flags) else torch.Tensor
    return None if name in _OTHERS else torch.Tensor


def _of_arithmetic(node: fx.Node) -> type | None:
    kinds = [_type(one) for one in node.args]
    if torch.Tensor in kinds:
        return torch.Tensor
    integers = all(kind is int for kind in kinds)
    return int if integers and node.target in _OF_INTEGERS else None


def _type(value: Any) -> type | None:
    return type_of(value) if isinstance(value, fx.Node) else type(value)


def _type_within(whole: Any, place: Any) -> type | None:
    """The type of what lies at a place of a value."""
    if not isinstance(whole, fx.Node):
        return None
    kind = type_of(whole)
    if kind is torch.Size:
        return torch.Size if isinstance(place, slice) else int
    if kind is torch.Tensor:
        return torch.Tensor
    if kind is not tuple or isinstance(place, slice):
        return kind
    # What recurrent layers return beside their output is tensors or tuples of them.
    return torch.Tensor if whole.op != "call_module" or place == 0 else None
