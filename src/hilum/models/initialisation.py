"""Building networks without moving the global random generator, and without filling them at all.

A library that draws from the global generator changes everybody's results behind their back. And
random numbers that a state dict overwrites a moment later are most of the time it takes to build
a network.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

__all__ = ["global_generator_kept", "random_parameters_zero"]


@contextmanager
def global_generator_kept(seed: int | None = None) -> Iterator[None]:
    """Restore PyTorch's global CPU generator at the end; within, it starts from `seed` if given."""
    # devices=[] and default_generator: networks are built on the CPU, and torch.manual_seed
    # would reseed the GPUs, too.
    with torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.default_generator.manual_seed(seed)
        yield


@contextmanager
def random_parameters_zero() -> Iterator[None]:
    """Within, parameters become 0 instead of random numbers: quicker, for a state dict to replace.

    Unlike `nn.utils.skip_init` and the meta device it leaves buffers right, also those that no
    state dict holds, and builders that compute with tensors work (RegNet).
    """
    with global_generator_kept(), _ZeroFill():
        yield


class _ZeroFill(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _RANDOM_FILLS:
            target = args[0] if args else kwargs["tensor"]
            # Scratch tensors get real random numbers: nn.init.trunc_normal_ draws into them
            # until all are in range.
            if isinstance(target, nn.Parameter):
                target.detach().zero_()
                return target
        return func(*args, **kwargs)


# Some functions of nn.init announce themselves here, others only the method they call. One that
# is not listed costs time, nothing else.
_RANDOM_FILLS = frozenset(
    {
        torch.Tensor.normal_,
        torch.Tensor.uniform_,
        nn.init.kaiming_normal_,
        nn.init.kaiming_uniform_,
        nn.init.normal_,
        nn.init.trunc_normal_,
        nn.init.uniform_,
        nn.init.xavier_normal_,
        nn.init.xavier_uniform_,
    }
)
