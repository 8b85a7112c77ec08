"""Stand-ins for the values of a network whose code is followed, on top of those of torch.fx."""

import dis
import inspect
import operator
import types
from collections.abc import Callable
from typing import Any

import torch
import torch.fx.proxy
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

_OWN = frozenset(("node", "tracer", "root", "attr", "_node"))
"""What stand-ins of torch.fx keep in themselves."""


class StandIn(fx.Proxy):
    """Notes `y += 1` as that. torch.fx takes it for `y = y + 1`, and other names of y miss it."""

    # What torch tells parameters and buffers by.
    _is_param = False
    _is_buffer = False

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """Refuse what decides by it; `isinstance` is answered elsewhere, for Python alone."""
        frame = inspect.currentframe()
        asking = frame.f_back if frame is not None else None
        if asking is not None and _decides_by_class(asking):
            raise TypeError(f"it asks for the class of {self.node.name!r}; isinstance is answered")
        return type(self)

    def __getattr__(self, name: str) -> "Part":
        """What stands for an attribute or a method."""
        return Part(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse: it would be lost with the stand-in."""
        if name not in _OWN:
            raise TypeError(f"it sets the attribute {name!r} of a tensor")
        super().__setattr__(name, value)

    def __bool__(self) -> bool:
        """Refuse to decide, but let a check of the inputs pass, as `torch._assert` does."""
        frame = inspect.currentframe()
        assert frame is not None
        assert frame.f_back is not None
        return _is_asserted(frame.f_back) or super().__bool__()

    def __setitem__(self, place: Any, value: Any) -> None:
        """Note `y[place] = value`."""
        self.tracer.create_proxy("call_function", operator.setitem, (self, place, value), {})


class Part(StandIn, fx.proxy.Attribute):
    """Stands for an attribute or a method of a value."""


class Held(StandIn):
    """Stands for a tensor that the network holds; its size does not change."""

    def __init__(self, node: fx.Node, tracer: fx.Tracer, tensor: torch.Tensor) -> None:
        super().__init__(node, tracer)
        vars(self)["held"] = tensor
        vars(self)["_fixed"] = {"shape": tensor.shape, "ndim": tensor.ndim}

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


def _decides_by_class(frame: types.FrameType) -> bool:
    """Whether code outside of torch asks for it with `x.__class__` or `match`."""
    package = str(frame.f_globals.get("__name__", ""))
    if package.startswith(("torch.", "hilum.models.traced.")):
        return False
    return dis.opname[frame.f_code.co_code[frame.f_lasti]] in ("LOAD_ATTR", "MATCH_CLASS")


def _is_asserted(frame: types.FrameType) -> bool:
    """Whether the value that is asked for decides on nothing but an assertion."""
    left = [one for one in dis.get_instructions(frame.f_code) if one.offset > frame.f_lasti]
    for one in left[:4]:
        if one.opname in ("LOAD_ASSERTION_ERROR", "LOAD_COMMON_CONSTANT"):
            return one.opname == "LOAD_ASSERTION_ERROR" or one.argrepr == "AssertionError"
        if one.opname != "CACHE" and "JUMP" not in one.opname:
            return False
    return False
