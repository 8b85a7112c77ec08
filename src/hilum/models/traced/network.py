"""The module that a `Program` describes. It looks steps up in tables; no code is made of them."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hilum.errors import InvalidValueError, require
from hilum.models.graph.network import MAX_PARAMETERS
from hilum.models.traced.layers import build
from hilum.models.traced.program import OwnTensor, Program, Step, filled, references
from hilum.models.traced.tables import dtype_of, function_of, method_of

__all__ = ["TracedNetwork", "program_of", "traced_network"]

_MODES = "hilum_modes"


class TracedNetwork(nn.Module):
    """Runs a program's steps in their order; layers and tensors have the paths they had.

    `traced_network` makes one.

    Raises:
        InvalidValueError: options that a layer does not take, absurdly many parameters, or a step
            that reads what no earlier one made or calls what is no layer of the program.
    """

    def __init__(self, program: Program) -> None:
        super().__init__()
        # Names that no layer of a user's has.
        self._hilum_program = program
        self._hilum_last_uses = _last_uses(program)
        self._hilum_modes: dict[str, str] = {}
        with torch.device("meta"):  # nothing is allocated before the sizes are known to be sane
            layers = [build(path, layer) for path, layer in program.layers.items()]
            size = sum(p.numel() for layer in layers for p in layer.state_dict().values())
        size += sum(math.prod(one.shape) for one in program.tensors.values())
        size += sum(math.prod(one.shape) for one in program.constants.values())
        require(size <= MAX_PARAMETERS, "parameters", f"at most {MAX_PARAMETERS:,}", f"{size:,}")
        for path in dict.fromkeys((*program.modules, *program.layers)):
            _place(self, path, program)
        for path, tensor in program.tensors.items():
            _hold(*_free_place(self, path), tensor)
        for path, constant in program.constants.items():
            owner, name = _free_place(self, path)
            owner.register_buffer(name, constant.tensor(), persistent=False)
        for path, first in program.shared.items():
            _share(self, path, first)
        _require_targets(self, program)
        for path in {step.target: None for step in program.steps if step.kind == "mode"}:
            self._hilum_modes[path] = _hold_question(self, path, len(self._hilum_modes))


class _Mode(nn.Module):
    """Whether a module is in training: a layer, so that torch.fx takes down the question."""

    def __init__(self, owner: nn.Module) -> None:
        super().__init__()
        self._owner = (owner,)  # in a tuple, or the owner would be its part

    @property
    def training(self) -> bool:
        """That of its owner; it has none of its own."""
        return self._owner[0].training

    @training.setter
    def training(self, mode: bool) -> None:
        # Where a network is cut, its owner is in no part of it.
        for owner in vars(self).get("_owner", ()):
            owner.training = mode

    def forward(self) -> bool:
        """Ask."""
        return self._owner[0].training


class _OfInputs(TracedNetwork):
    """With any number of arguments."""

    def forward(self, *inputs: Tensor) -> Any:
        """Compute what the network the program was made of computes."""
        return _run(self, inputs)


class _OfOneInput(TracedNetwork):
    """With a forward that torch.fx can follow, so that it is cut, split and given a new head."""

    def forward(self, value: Tensor) -> Any:
        """Compute what the network the program was made of computes."""
        return _run(self, (value,))


def traced_network(program: Program) -> TracedNetwork:
    """Build the network of a program; see `TracedNetwork`."""
    return _OfOneInput(program) if len(program.inputs) == 1 else _OfInputs(program)


def program_of(network: TracedNetwork) -> Program:
    """What a network was built from."""
    return network._hilum_program


def _run(network: TracedNetwork, inputs: tuple[Tensor, ...]) -> Any:
    program, last_uses = network._hilum_program, network._hilum_last_uses
    if len(inputs) != len(program.inputs):
        raise TypeError(
            f"{program.name} takes {len(program.inputs)} positional arguments "
            f"({', '.join(program.inputs)}) but {len(inputs)} were given"
        )
    values: dict[str, Any] = dict(zip(program.inputs, inputs, strict=True))
    for at, step in enumerate(program.steps):
        left_out = step.when is not None and not _holds(values, *step.when)
        values[step.name] = None if left_out else _done(network, step, values)
        for name in last_uses[at]:
            del values[name]
    return filled(program.result, values)


def _holds(values: Mapping[str, Any], mode: str, wanted: bool) -> bool:
    found = values[mode]
    if found is None:  # the question itself was left out
        return False
    return bool(found) is wanted  # torch.fx raises here: it cannot follow both


def _done(network: TracedNetwork, step: Step, values: Mapping[str, Any]) -> Any:
    args, kwargs = filled(step.args, values), filled(dict(step.kwargs), values)
    if step.kind == "layer":
        return network.get_submodule(step.target)(*args, **kwargs)
    if step.kind == "function":
        return function_of(step.target)(*args, **kwargs)
    if step.kind == "method":
        return getattr(args[0], method_of(step.target))(*args[1:], **kwargs)
    owner, name = _owner(network, step.target)
    if step.kind == "mode":
        return network.get_submodule(network._hilum_modes[step.target])()
    return getattr(owner, name)


def _owner(network: nn.Module, path: str) -> tuple[nn.Module, str]:
    """The module that holds what lies at a path, made where there is none, and its name."""
    *parents, name = path.split(".")
    owner = network
    for parent in parents:
        if parent not in owner._modules:
            _require_free(owner, parent)
            owner.add_module(parent, nn.Module())
        owner = owner.get_submodule(parent)
    return owner, name


def _module(network: nn.Module, path: str) -> nn.Module:
    """The module at a path, made where there is none."""
    return _owner(network, f"{path}.")[0] if path else network


def _free_place(network: nn.Module, path: str) -> tuple[nn.Module, str]:
    owner, name = _owner(network, path)
    _require_free(owner, name)
    return owner, name


def _share(network: nn.Module, path: str, first: str) -> None:
    """Hold a parameter under one more path."""
    try:
        parameter = network.get_parameter(first)
    except AttributeError as error:
        raise InvalidValueError(
            f"what is shared with {path!r} must be a parameter. Got {first!r}."
        ) from error
    owner, name = _owner(network, path)
    taken = owner._parameters.get(name)
    if taken is None:
        owner, name = _free_place(network, path)
    else:
        alike = (taken.shape, taken.dtype) == (parameter.shape, parameter.dtype)
        shapes = f"{list(taken.shape)} and {list(parameter.shape)}"
        require(alike, f"what {path!r} and {first!r} share", "of one shape and dtype", shapes)
    owner._parameters[name] = parameter


def _require_targets(network: nn.Module, program: Program) -> None:
    """What steps call are layers, what they read are tensors: modules have much that is code."""
    modes = {step.name for step in program.steps if step.kind == "mode"}
    for step in program.steps:
        what = f"step {step.name!r}"
        if step.kind == "layer":
            known = step.target in program.layers
            require(known, what, "one that calls a layer of the program", step.target)
        if step.kind == "tensor":
            owner, name = _owner(network, step.target)
            held = name in owner._parameters or name in owner._buffers
            require(held, what, "one that reads a tensor", step.target)
        if step.when is not None:
            require(step.when[0] in modes, what, "done when a step asks for a mode", step.when[0])


def _require_free(owner: nn.Module, name: str) -> None:
    require(not hasattr(owner, name), "path of a layer", "no attribute of every module", name)


def _place(network: nn.Module, path: str, program: Program) -> None:
    """A layer, or what layers and tensors lie in."""
    if path in program.layers:
        owner, name = _free_place(network, path)
        owner.add_module(name, build(path, program.layers[path]))
    else:
        _module(network, path)


def _hold(owner: nn.Module, name: str, tensor: OwnTensor) -> None:
    zeros = torch.zeros(tensor.shape, dtype=dtype_of(tensor.dtype))
    if tensor.learns:
        owner.register_parameter(name, nn.Parameter(zeros))
    else:
        owner.register_buffer(name, zeros)


def _hold_question(network: nn.Module, path: str, number: int) -> str:
    """Path of a layer that asks for the mode of the module at a path.

    It lies apart, for that module may be a layer, which has the parts it was made with.
    """
    asking = f"{_MODES}.{number}"
    holder, name = _free_place(network, asking)
    holder.add_module(name, _Mode(_module(network, path)))
    return asking


def _last_uses(program: Program) -> list[list[str]]:
    """For each step the values that nobody reads after it, so that their memory is freed."""
    made = set(program.inputs)
    for step in program.steps:
        read = step.reads()
        require(read <= made, f"step {step.name!r}", "one that reads earlier steps", sorted(read))
        made.add(step.name)
    kept = set(references(program.result))
    require(kept <= made, "result", "made of steps", sorted(kept))
    uses: list[list[str]] = []
    seen = set(kept)
    for step in reversed(program.steps):
        read = {step.name, *step.reads()}
        uses.append(sorted(read - seen))
        seen |= read
    return uses[::-1]
