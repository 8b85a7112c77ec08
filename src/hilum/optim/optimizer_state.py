"""What keeps an optimizer's state right when it comes from elsewhere than its own last step.

Gradients come through flat buffers, moments from files, and layers join that were frozen before;
each function here hooks one optimizer so that its step is the same as without such a history.
"""

import torch
from torch import Tensor
from torch.optim import Optimizer

__all__ = ["match_layouts", "start_missing_momentum"]


def match_layouts(optimizer: Optimizer) -> None:
    """Bring gradients and loaded moments into the memory order of their parameters.

    PyTorch's fused CPU kernels walk parameter, gradient and moments as flat memory (seen with 2.15:
    silently wrong updates). With channels_last weights, gradients that came through a flat buffer
    and moments that came from a file are in another order.
    """
    optimizer.register_step_pre_hook(_match_gradients)
    optimizer.register_load_state_dict_post_hook(_match_state)


def start_missing_momentum(optimizer: Optimizer) -> None:
    """Give parameters that join a group later a momentum of zero.

    PyTorch's fused SGD takes either no buffers, which is its first step, or all of them.
    """
    optimizer.register_step_pre_hook(_fill_momentum)


def _match_gradients(optimizer: Optimizer, args: object, kwargs: object) -> None:
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None:
                parameter.grad = _in_layout_of(parameter, parameter.grad)


def _match_state(optimizer: Optimizer) -> None:
    for parameter, state in optimizer.state.items():
        for key, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                state[key] = _in_layout_of(parameter, value)


def _fill_momentum(optimizer: Optimizer, args: object, kwargs: object) -> None:
    for group in optimizer.param_groups:
        if not group.get("momentum"):
            continue
        states = [optimizer.state[p] for p in group["params"] if p.grad is not None]
        missing = [state.get("momentum_buffer") is None for state in states]
        if not any(missing) or all(missing):
            continue
        for parameter in group["params"]:
            if optimizer.state[parameter].get("momentum_buffer") is None:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(
                    parameter, requires_grad=False
                )


def _in_layout_of(parameter: Tensor, value: Tensor) -> Tensor:
    """Return the same numbers in the memory order of the parameter; itself where it has it."""
    if value.stride() == parameter.stride() or all(
        size == 1 or own == other
        for size, own, other in zip(value.shape, parameter.stride(), value.stride(), strict=True)
    ):
        return value
    return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)
