"""From a module of the user's to a `Program`: its code is followed once, and then left behind.

torch.fx runs the forward pass with stand-ins for tensors. What comes out must be made of layers,
functions and methods that stand in our tables; what else the code does (deciding by values, layers
of other kinds) is refused with its name, for nobody but that code could do it on another machine.
"""

import copy
import inspect
import operator
import random
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from hilum.errors import HilumError, InvalidValueError
from hilum.models.initialisation import global_generator_kept
from hilum.models.traced.agreement import in_mode
from hilum.models.traced.layers import description
from hilum.models.traced.network import TracedNetwork, traced_network
from hilum.models.traced.program import (
    Constant,
    Kind,
    Layer,
    OwnTensor,
    Program,
    Reference,
    Step,
    encoded,
)
from hilum.models.traced.stand_ins import IN_PLACE
from hilum.models.traced.tables import ATTRIBUTES, METHODS, name_of_function, name_of_layer
from hilum.models.traced.tracer import ModeTracer, ask_mode
from hilum.models.traced.watching import FOLLOWING

__all__ = ["trace_instance"]

_MAX_CONSTANT_BYTES = 2**22
"""Of all tensors that a program carries itself, packed, because they are in no state dict."""

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_MODE_SETTERS = ("train", "eval")
_NOTES = ("_assert", "_assert_is_none")


def trace_instance(network: nn.Module) -> TracedNetwork:
    """Build a module again from what it does, without its code; the module stays as it is.

    Returns:
        The same network with the same weights, under the names they had; those of a single layer
        begin with "0.".

    Raises:
        InvalidValueError: it cannot be built again without its code; the message says what stands
            in the way, and the way out.
    """
    if name_of_layer(type(network)):
        network = nn.Sequential(network).train(network.training)
    with FOLLOWING, global_generator_kept():
        copied = _copied(network)  # for its code may change what it holds
        program = _described(copied)
        _require_unchanged(network, copied)
        traced = traced_network(program)
    weights, own = network.state_dict(), traced.state_dict()
    for name, tensor in own.items():
        if weights[name].dtype != tensor.dtype:
            why = f"its tensor {name!r} is {weights[name].dtype}, that of a layer {tensor.dtype}"
            raise _refused(network, f"{why} (network.float() makes it that)")
    traced.load_state_dict({name: weights[name] for name in own})
    every = network.named_parameters(remove_duplicate=False)
    learns = {name: parameter.requires_grad for name, parameter in every}
    for name, parameter in traced.named_parameters():
        parameter.requires_grad_(learns[name])
    return traced.train(network.training)


def _described(network: nn.Module) -> Program:
    """The program of a module, which has to do in each mode what its code does in that mode."""
    both = _Description(network, both=True)
    program = both.program()
    paths = [path for path, _ in network.named_modules()]
    for mode in (True, False):
        when = "training" if mode else "evaluation"
        _require_followed(network, program, dict.fromkeys(paths, mode), when)
        # Questions within questions, with another answer to one of them.
        for other in both.nested:
            modes = {**dict.fromkeys(paths, mode), other: not mode}
            _require_followed(network, program, modes, f"{when} with {other!r} in the other mode")
    return program


def _require_followed(
    network: nn.Module, program: Program, modes: Mapping[str, bool], when: str
) -> None:
    for path, module in network.named_modules():
        if "training" in vars(module):
            module.training = modes[path]
    if in_mode(program, modes) != in_mode(_Description(network, both=False).program(), modes):
        raise _refused(network, f"its code is not followed surely in {when}")


def _copied(network: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(network)
    except Exception as error:  # whatever else the module holds
        raise _refused(network, f"it cannot be copied: {_first_line(error)}") from error


def _require_unchanged(network: nn.Module, followed: nn.Module) -> None:
    """Values, for what code does to `.data` counts in no version of a tensor."""
    after = _tensors(followed)
    for name, own in _tensors(network).items():
        if own.requires_grad != after[name].requires_grad or not _are_same(own, after[name]):
            raise _refused(network, f"its code changes its tensor {name!r}")


def _tensors(network: nn.Module) -> dict[str, torch.Tensor]:
    """All that its modules hold, by name, in a state dict or not."""
    held = {
        f"{path}.{name}" if path else name: tensor
        for path, module in network.named_modules()
        for name, tensor in vars(module).items()
        if isinstance(tensor, torch.Tensor)
    }
    return {**held, **dict(network.named_parameters()), **dict(network.named_buffers())}


def _are_same(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return one.is_meta or torch.equal(one, other) or bool(((one == other) | (one != one)).all())


class _Description:
    """The graph of a module, and what becomes of it."""

    def __init__(self, network: nn.Module, *, both: bool) -> None:
        self.network = network
        self._check(network, "")
        parameters = inspect.signature(network.forward).parameters.values()
        lists = [str(p) for p in parameters if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        if lists:
            raise _refused(network, f"its forward takes {', '.join(lists)}")
        # Arguments with a default keep it; the columns are the others.
        given = {p.name: p.default for p in parameters if p.default is not p.empty}
        required = {p.name for p in parameters if p.default is p.empty}
        tracer = ModeTracer(self._check, both=both)
        before = _state(network)
        try:
            self.graph = tracer.trace(network, concrete_args=given or None)
        except HilumError:
            raise
        except Exception as error:  # whatever the network's code raises when it meets a stand-in
            raise _refused(network, f"its code cannot be followed: {_first_line(error)}") from error
        if _state(network) != before:
            why = "it draws numbers, or changes its tensors, where no step of it shows it"
            raise _refused(network, why)
        self.when, self.nested = tracer.when, tracer.nested
        self.plain_tensors = {path: tensor for tensor, path in tracer.tensor_attrs.items()}
        begun = [node for node in self.graph.nodes if node.op == "placeholder"]
        self.inputs = tuple(node.name for node in begun if str(node.target) in required)
        self._erase_notes()

    def _check(self, module: nn.Module, path: str) -> None:
        """Refuse a module whose code is not that of its class, or not to be followed."""
        where = f"its part {path!r} ({type(module).__name__})" if path else "it"
        is_layer = bool(name_of_layer(type(module)))
        for part in module.modules() if is_layer else (module,):
            if any(getattr(part, hooks, None) for hooks in _HOOKS):
                raise _refused(self.network, f"{where} has hooks")
            if "forward" in vars(part):
                raise _refused(self.network, f"{where} has a forward that is not of its class")
            own = [n for n in _MODE_SETTERS if getattr(part, n) != _of_every_module(part, n)]
            if own:
                raise _refused(self.network, f"{where} has a {own[0]}() of its own")
        of_torch = type(module).__module__.startswith("torch.")
        if of_torch and not is_layer and not isinstance(module, _CONTAINERS):
            raise _refused(self.network, f"{where} is no layer that can be described")

    def _erase_notes(self) -> None:
        """Take out assertions, such as those about arguments with a default, and what they read.

        All else stays, for it may change a tensor in place that is read by another name.
        """
        only_noted: set[fx.Node] = set()
        for node in reversed(list(self.graph.nodes)):
            is_note = getattr(node.target, "__name__", "") in _NOTES
            called = node.op in ("call_function", "call_method") and not _may_write(node)
            looks = node.op == "get_attr" or node.target is getattr
            unread = not node.users and node.target is not ask_mode
            if is_note or (unread and (looks or (called and node in only_noted))):
                only_noted.update(node.all_input_nodes)
                self.when.pop(node, None)
                self.graph.erase_node(node)

    def program(self) -> Program:
        """The graph as data."""
        layers: dict[str, Layer] = {}
        tensors: dict[str, OwnTensor] = {}
        constants: dict[str, Constant] = {}
        steps: list[Step] = []
        result: Any = None
        held = self.network.state_dict()
        called = {str(node.target) for node in self.graph.nodes if node.op == "call_module"}
        for node in self.graph.nodes:
            path = str(node.target)
            if node.op == "output":
                result = self._plain(node.args[0], "its result")
            elif node.op != "placeholder":
                steps.append(self._step(node))
                if node.op == "call_module" and path not in layers:
                    layers[path] = self._layer(path)
                elif node.op == "get_attr" and not _within(path, called):
                    if path in held:
                        tensors[path] = self._tensor(path)
                    else:
                        constants[path] = self._constant(path)
        if sum(len(one.values) for one in constants.values()) > _MAX_CONSTANT_BYTES:
            large = ", ".join(constants)
            raise _refused(self.network, f"it has large tensors ({large}) in no state dict")
        shared = _shared(self.network, lambda path: path in tensors or _within(path, called))
        asked = (step.target for step in steps if step.kind == "mode")
        return Program(
            name=type(self.network).__name__,
            inputs=self.inputs,
            layers=layers,
            tensors=tensors,
            steps=tuple(steps),
            result=result,
            constants=constants,
            shared=shared,
            modules=self._modules(layers, tensors, constants, shared, asked),
        )

    def _modules(self, *held: Iterable[str]) -> tuple[str, ...]:
        """Paths of the modules that these lie in, or are, in the order of the network."""
        paths = {path for one in held for path in one if path}
        needed = {
            path[:at] for path in paths for at in range(len(path) + 1) if f"{path}."[at] == "."
        }
        called = {str(node.target) for node in self.graph.nodes if node.op == "call_module"}
        modules = [path for path, _ in self.network.named_modules() if path in needed]
        return tuple(path for path in modules if not _within(path, called))

    def _step(self, node: fx.Node) -> Step:
        what = getattr(node.target, "__name__", str(node.target))
        args, kwargs = self._plain(node.args, what), self._plain(dict(node.kwargs), what)
        kind: Kind
        if node.op == "call_module":
            kind, target = "layer", str(node.target)
        elif node.op == "get_attr":
            kind, target, args = "tensor", str(node.target), ()
        elif node.target is ask_mode:
            kind, target, args = "mode", str(node.args[0]), ()
        elif node.op == "call_method":
            kind, target = "method", str(node.target)
            if target not in METHODS:
                raise _refused(self.network, f"it calls the method {target!r} of a tensor")
        else:
            kind, target = "function", name_of_function(node.target)
            if target == "getattr" and args[1] not in ATTRIBUTES:
                raise _refused(self.network, f"it reads the attribute {args[1]!r} of a tensor")
            if not target:
                raise _refused(self.network, f"it calls the function {what!r}")
        asked, answer = self.when.get(node, (None, False))
        when = None if asked is None else (asked.name, answer)
        return Step(name=node.name, kind=kind, target=target, args=args, kwargs=kwargs, when=when)

    def _plain(self, value: Any, what: str) -> Any:
        plain = _of_python(value)
        try:
            encoded(plain)
        except InvalidValueError as error:
            raise _refused(self.network, f"{what} is given what is not plain: {error}") from error
        return plain

    def _layer(self, path: str) -> Layer:
        layer = self.network.get_submodule(path)
        try:
            return description(layer)
        except Exception as error:  # what a layer raises for options is up to PyTorch
            raise _refused(self.network, f"its part {path!r} ({layer}) has {error}") from error

    def _tensor(self, path: str) -> OwnTensor:
        found = self._held(path)
        dtype = str(found.dtype).removeprefix("torch.")
        learns = isinstance(found, nn.Parameter)
        return OwnTensor(shape=tuple(found.shape), dtype=dtype, learns=learns)

    def _constant(self, path: str) -> Constant:
        found: Any = self.plain_tensors.get(path)
        found = self._held(path) if found is None else found
        if found.requires_grad:
            raise _refused(self.network, f"its tensor {path!r} learns and is in no state dict")
        return Constant.of(found)

    def _held(self, path: str) -> Any:
        owner, _, name = path.rpartition(".")
        return getattr(self.network.get_submodule(owner), name)


def _of_every_module(module: nn.Module, method: str) -> Any:
    return types.MethodType(vars(nn.Module)[method], module)


def _may_write(node: fx.Node) -> bool:
    """Whether a function or method may change what it is given; a doubt counts as yes."""
    if node.target in IN_PLACE or node.target is operator.setitem:
        return True
    name = getattr(node.target, "__name__", str(node.target))
    flagged = any(one is True for one in (*node.args, *node.kwargs.values()))
    return flagged or (name.endswith("_") and not hasattr(operator, name))


def _of_python(value: Any) -> Any:
    """Lists, tuples and dicts of torch.fx and torch as those of Python, nodes as references."""
    if isinstance(value, fx.Node):
        return Reference(value.name)
    if isinstance(value, tuple):
        return tuple(_of_python(one) for one in value)
    if isinstance(value, list):
        return [_of_python(one) for one in value]
    if isinstance(value, dict):
        return {key: _of_python(one) for key, one in value.items()}
    if isinstance(value, slice):
        return slice(*(_of_python(one) for one in (value.start, value.stop, value.step)))
    return value


def _state(network: nn.Module) -> list[Any]:
    """What following the code must leave alone: generators, and the tensors of the network."""
    drawn = np.random.get_state()
    held = [
        tensor
        for part in network.modules()
        for tensor in (*part._parameters.values(), *part._buffers.values(), *vars(part).values())
    ]
    return [
        random.getstate(),
        [part.tobytes() if isinstance(part, np.ndarray) else part for part in drawn],
        torch.get_rng_state().numpy().tobytes(),
        [one._version for one in held if isinstance(one, torch.Tensor) and not one.is_inference()],
    ]


def _within(path: str, layers: set[str]) -> bool:
    """Whether a tensor is one of a layer's own."""
    *owners, _ = path.split(".")
    return any(".".join(owners[:end]) in layers for end in range(1, len(owners) + 1))


def _shared(network: nn.Module, is_held: Callable[[str], bool]) -> dict[str, str]:
    """For further names of parameters that a program holds: the name by which it does."""
    buffers: set[int] = set()
    for path, buffer in network.named_buffers(remove_duplicate=False):
        if id(buffer) in buffers:  # they come apart when a network moves to another device
            raise _refused(network, f"its buffer {path!r} has other names, too")
        buffers.add(id(buffer))
    names: dict[int, list[str]] = {}
    for path, parameter in network.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(path)
    shared: dict[str, str] = {}
    for paths in names.values():
        first = next(filter(is_held, paths), "")
        shared |= {path: first for path in paths if first and path != first}
    return shared


def _refused(network: nn.Module, why: str) -> InvalidValueError:
    return InvalidValueError(
        "model must be a module that can be built again without its code. "
        f"Got a {type(network).__name__}: {why}. Hint: put a function that builds it into a module "
        "of yours, mark it with @hilum.models.network_factory and give the function; weights= "
        "takes a file of its state dict. Networks of torchvision and timm go by their names."
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
