"""What Python and torch do otherwise in the thread that follows a network's code.

Stand-ins must be tensors for `isinstance` in Python, but not for torch's C code: it would read a
tensor's memory where there is none. So it is the function that answers, not the class.
"""

import abc
import builtins
import contextlib
import sys
import threading
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import fx, nn

from hilum.models.traced.stand_ins import Held
from hilum.models.traced.value_types import type_of

__all__ = ["FOLLOWING", "has_stand_in", "watched"]

FOLLOWING = threading.RLock()
"""Held while code is followed: what is replaced for that belongs to the whole process."""

# Of these torch.fx takes no note: what they are given is no tensor. The first kind draws numbers,
# so that each run needs them anew.
_RANDOM_MAKERS = ("rand", "randn", "randint", "randperm", "normal")
_MAKERS = ("zeros", "ones", "empty", "full", "arange", "linspace", "eye", "tensor", "as_tensor")
_PLAIN_METACLASSES = (type, abc.ABCMeta, type(torch.Tensor), type(nn.Parameter))


@contextlib.contextmanager
def watched(create_proxy: Callable[..., Any]) -> Iterator[None]:
    """Note what makes new tensors, refuse what no step shows, and answer `isinstance`.

    All in this thread only; the caller holds `FOLLOWING`.
    """
    thread = threading.get_ident()
    replaced = [
        (builtins, "isinstance", _answering(thread)),
        (torch.autocast, "__enter__", _refusing_precision(thread)),
        (type(torch.autograd.Function), "__getattribute__", _refusing_functions(thread)),
        *(
            (torch, name, _noting(getattr(torch, name), name, create_proxy, thread))
            for name in (*_MAKERS, *_RANDOM_MAKERS)
        ),
    ]
    before = [vars(owner).get(name) for owner, name, _ in replaced]
    try:
        for owner, name, other in replaced:
            setattr(owner, name, other)
        yield
    finally:
        for (owner, name, _), own in zip(replaced, before, strict=True):
            if own is None:
                delattr(owner, name)
            else:
                setattr(owner, name, own)


def has_stand_in(value: Any) -> bool:
    """Whether an argument is a stand-in, or holds one."""
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, tuple | list):
        return any(map(has_stand_in, value))
    return issubclass(type(value), fx.Proxy)


def _noting(
    maker: Callable[..., Any], name: str, create_proxy: Callable[..., Any], thread: int
) -> Callable[..., Any]:
    def make(*args: Any, **kwargs: Any) -> Any:
        noted = name in _RANDOM_MAKERS or has_stand_in((args, kwargs))
        if noted and threading.get_ident() == thread:
            return create_proxy("call_function", maker, args, kwargs)
        return maker(*args, **kwargs)

    return make


def _refusing_precision(thread: int) -> Callable[[Any], Any]:
    begin: Callable[[Any], Any] = torch.autocast.__enter__

    def enter(context: Any) -> Any:
        if threading.get_ident() == thread:
            raise TypeError("it chooses the precision itself (torch.autocast)")
        return begin(context)

    return enter


def _refusing_functions(thread: int) -> Callable[[Any, str], Any]:
    """Functions with a gradient of their own: torch runs their forward, whatever it is given."""

    def find(function: Any, name: str) -> Any:
        found = type.__getattribute__(function, name)
        if name != "forward" or threading.get_ident() != thread:
            return found

        def forward(*args: Any, **kwargs: Any) -> Any:
            if has_stand_in((args, kwargs)):
                named = type.__getattribute__(function, "__name__")
                raise TypeError(f"it calls {named}, which has a gradient of its own")
            return found(*args, **kwargs)

        return forward

    return find


def _answering(thread: int) -> Callable[[Any, Any], bool]:
    real = builtins.isinstance

    def answer(value: Any, kinds: Any, /) -> bool:
        if not issubclass(type(value), fx.Proxy) or threading.get_ident() != thread:
            return real(value, kinds)
        frame = sys._getframe(1)
        if frame.f_code is torch.is_tensor.__code__ and frame.f_back is not None:
            frame = frame.f_back
        asking = str(frame.f_globals.get("__name__", ""))
        if asking.startswith(("torch.fx.", "hilum.models.traced.")):
            return real(value, kinds)
        of_torch = asking.partition(".")[0] == "torch"
        if issubclass(type(value), Held):
            return real(vars(value)["held"], kinds)
        found = type_of(value.node)
        if of_torch:
            return real(value, kinds) if found is None else issubclass(found, kinds)
        if found is None or not _is_plain(kinds):
            raise TypeError(f"it asks for the type (isinstance) of {value.node.name!r}, not known")
        return issubclass(found, kinds)

    return answer


def _is_plain(kinds: Any) -> bool:
    """Whether the type of a value is enough to tell whether it is of these."""
    if type(kinds) is tuple or type(kinds) is types.UnionType:
        return all(map(_is_plain, kinds if type(kinds) is tuple else typing.get_args(kinds)))
    return type(kinds) in _PLAIN_METACLASSES or typing.get_origin(kinds) is not None
