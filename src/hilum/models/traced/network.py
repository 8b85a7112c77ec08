"""The module that a `Program` describes. It looks steps up in tables; no code is made of them."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hilum.errors import InvalidValueError, require
from hilum.models.graph.network import MAX_PARAMETERS
from hilum.models.traced.program import Layer, OwnTensor, Program, Reference, dtype_of, references
from hilum.models.traced.tables import FUNCTIONS, MODULES, argument_names

__all__ = ["TracedNetwork", "program_of", "traced_network"]


class TracedNetwork(nn.Module):
    """Runs a program's steps in their order; layers and tensors have the paths they had.

    `traced_network` makes one.

    Raises:
        InvalidValueError: options that a layer does not take, absurdly many parameters, or a step
            that reads what no earlier one made.
    """

    def __init__(self, program: Program) -> None:
        super().__init__()
        # Names that no layer of a user's has.
        self._hilum_program = program
        self._hilum_last_uses = _last_uses(program)
        with torch.device("meta"):  # nothing is allocated before the sizes are known to be sane
            layers = [_build(path, layer) for path, layer in program.layers.items()]
            shapes = [torch.empty(one.shape) for one in program.tensors.values()]
            size = sum(p.numel() for layer in layers for p in layer.state_dict().values())
            size += sum(shape.numel() for shape in shapes)
        require(size <= MAX_PARAMETERS, "parameters", f"at most {MAX_PARAMETERS:,}", f"{size:,}")
        for path, layer in program.layers.items():
            owner, name = _owner(self, path)
            _require_free(owner, name)
            owner.add_module(name, _build(path, layer))
        for path, tensor in program.tensors.items():
            owner, name = _owner(self, path)
            _require_free(owner, name)
            _hold(owner, name, tensor)


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
        args, kwargs = _filled(step.args, values), _filled(dict(step.kwargs), values)
        if step.kind == "layer":
            values[step.name] = network.get_submodule(step.target)(*args, **kwargs)
        elif step.kind == "function":
            values[step.name] = FUNCTIONS[step.target](*args, **kwargs)
        elif step.kind == "method":
            values[step.name] = getattr(args[0], step.target)(*args[1:], **kwargs)
        else:
            owner, name = _owner(network, step.target)
            values[step.name] = getattr(owner, name)
        for name in last_uses[at]:
            del values[name]
    return _filled(program.result, values)


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


def _require_free(owner: nn.Module, name: str) -> None:
    require(not hasattr(owner, name), "path of a layer", "no attribute of every module", name)


def _build(path: str, layer: Layer) -> nn.Module:
    kind = MODULES[layer.kind]
    # A device, above all, would be filled before the sizes are known to be sane.
    extra = sorted(set(layer.options) - set(argument_names(kind)))
    require(not extra, f"options of layer {path!r}", f"those of {layer.kind}", ", ".join(extra))
    try:
        return kind(**layer.options)
    except Exception as error:  # what a layer raises for options is up to PyTorch
        raise InvalidValueError(
            f"options of layer {path!r} must be those of {layer.kind}. "
            f"Got {dict(layer.options)}: {error}"
        ) from error


def _hold(owner: nn.Module, name: str, tensor: OwnTensor) -> None:
    zeros = torch.zeros(tensor.shape, dtype=dtype_of(tensor.dtype))
    if tensor.learns:
        owner.register_parameter(name, nn.Parameter(zeros))
    else:
        owner.register_buffer(name, zeros)


def _filled(value: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(value, Reference):
        return values[value.name]
    if isinstance(value, tuple):
        return tuple(_filled(one, values) for one in value)
    if isinstance(value, list):
        return [_filled(one, values) for one in value]
    if isinstance(value, dict):
        return {key: _filled(one, values) for key, one in value.items()}
    if isinstance(value, slice):
        return slice(*(_filled(one, values) for one in (value.start, value.stop, value.step)))
    return value


def _last_uses(program: Program) -> list[list[str]]:
    """For each step the values that nobody reads after it, so that their memory is freed."""
    made = set(program.inputs)
    for step in program.steps:
        read = {*references(step.args), *references(dict(step.kwargs))}
        require(read <= made, f"step {step.name!r}", "one that reads earlier steps", sorted(read))
        made.add(step.name)
    kept = set(references(program.result))
    require(kept <= made, "result", "made of steps", sorted(kept))
    uses: list[list[str]] = []
    seen = set(kept)
    for step in reversed(program.steps):
        read = {step.name, *references(step.args), *references(dict(step.kwargs))}
        uses.append(sorted(read - seen))
        seen |= read
    return uses[::-1]
