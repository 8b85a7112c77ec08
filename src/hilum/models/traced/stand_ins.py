"""Stand-ins for the values of a network whose code is followed, on top of those of torch.fx."""

import dis
import inspect
import operator
import types
from collections.abc import Callable
from typing import Any

import torch
from torch import fx

__all__ = ["IN_PLACE", "Held", "Mode", "StandIn"]

IN_PLACE = tuple(
    getattr(operator, name)
    for name in (
        *("iadd", "iand", "ifloordiv", "ilshift", "imatmul", "imod", "imul"),
        *("ior", "ipow", "irshift", "isub", "itruediv", "ixor"),
    )
)
"""Operators that change what stands at their left."""

_SEQUENCES = {"chunk": list, "split": tuple, "unbind": tuple, "tensor_split": tuple}
_TUPLES = ("GRU", "LSTM", "LSTMCell", "MultiheadAttention", "RNN")


class StandIn(fx.Proxy):
    """Notes `y += 1` as that. torch.fx takes it for `y = y + 1`, and other names of y miss it."""

    # What torch tells parameters and buffers by.
    _is_param = False
    _is_buffer = False

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """What `isinstance` is told: the type of the value, where that is sure."""
        return _type_of(self.node) or StandIn

    def __bool__(self) -> bool:
        """Refuse to decide, but let a check of the inputs pass, as `torch._assert` does."""
        frame = inspect.currentframe()
        assert frame is not None
        assert frame.f_back is not None
        return _is_asserted(frame.f_back) or super().__bool__()

    def __setitem__(self, place: Any, value: Any) -> None:
        """Note `y[place] = value`."""
        self.tracer.create_proxy("call_function", operator.setitem, (self, place, value), {})


class Held(StandIn):
    """Stands for a tensor that the network holds; its size does not change."""

    def __init__(self, node: fx.Node, tracer: fx.Tracer, tensor: torch.Tensor) -> None:
        super().__init__(node, tracer)
        self._fixed: dict[str, Any] = {"shape": tensor.shape, "ndim": tensor.ndim}

    def __getattr__(self, name: str) -> Any:
        """What is known of it, or a stand-in for it."""
        if name in self._fixed:
            return self._fixed[name]
        return super().__getattr__(name)

    def size(self, dim: int | None = None) -> Any:
        """As of tensors."""
        shape = self._fixed["shape"]
        return shape if dim is None else shape[dim]

    def dim(self) -> Any:
        """As of tensors."""
        return self._fixed["ndim"]


class Mode:
    """Stands for `module.training`."""

    def __init__(self, ask: Callable[[], fx.Node], decide: Callable[[], bool]) -> None:
        self._ask, self._decide = ask, decide

    def __bool__(self) -> bool:
        return self._decide()

    def __fx_create_arg__(self, tracer: fx.Tracer) -> fx.Node:
        """What becomes of it as an argument."""
        return self._ask()


def _noted(operation: Callable[[Any, Any], Any]) -> Callable[[fx.Proxy, Any], fx.Proxy]:
    def note(self: fx.Proxy, other: Any) -> fx.Proxy:
        return self.tracer.create_proxy("call_function", operation, (self, other), {})

    return note


for _operation in IN_PLACE:
    setattr(StandIn, f"__{_operation.__name__}__", _noted(_operation))


def _type_of(node: fx.Node) -> type | None:
    """The type of the value of a node, None for one that is not known."""
    if node.op in ("placeholder", "get_attr"):
        return torch.Tensor
    if node.op == "call_module":
        kind = node.meta["layer"]
        return tuple if kind in _TUPLES else torch.Tensor
    if node.target is getattr:
        kinds = {"shape": torch.Size, "ndim": int, "T": torch.Tensor, "mT": torch.Tensor}
        return kinds.get(str(node.args[1]))
    if node.target is operator.getitem and isinstance(node.args[0], fx.Node):
        return _type_within(node.args[0], node.args[1])
    name = getattr(node.target, "__name__", str(node.target))
    if name == "size":
        return int if len(node.args) > 1 or node.kwargs else torch.Size
    return _SEQUENCES.get(name) or (torch.Tensor if name in _OF_TENSORS else None)


def _type_within(node: fx.Node, place: Any) -> type | None:
    """The type of what lies at a place of the value of a node."""
    whole = _type_of(node)
    if whole is torch.Size:
        return torch.Size if isinstance(place, slice) else int
    # What recurrent layers return beside their output is tensors or tuples of them.
    if whole is None or (node.op == "call_module" and whole is tuple and place != 0):
        return None
    return torch.Tensor if whole in (torch.Tensor, list, tuple) else None


_OF_TENSORS = frozenset(
    "bmm cat conv1d conv2d conv3d dropout einsum exp expand flatten gelu interpolate layer_norm "
    "linear log matmul pad permute relu reshape sigmoid softmax squeeze stack tanh transpose "
    "unsqueeze view".split()
)


def _is_asserted(frame: types.FrameType) -> bool:
    """Whether the value that is asked for decides on nothing but an assertion."""
    left = [one for one in dis.get_instructions(frame.f_code) if one.offset > frame.f_lasti]
    for one in left[:4]:
        if one.opname in ("LOAD_ASSERTION_ERROR", "LOAD_COMMON_CONSTANT"):
            return one.opname == "LOAD_ASSERTION_ERROR" or one.argrepr == "AssertionError"
        if one.opname != "CACHE" and "JUMP" not in one.opname:
            return False
    return False
