"""From a module of the user's to a `Program`: its code is followed once, and then left behind.

torch.fx runs the forward pass with stand-ins for tensors. What comes out must be made of layers
of torch.nn and of tensor functions that stand in our tables; what else the code does (deciding by
values, by training mode, layers of other kinds) is refused with its name, for nobody but that code
could do it on another machine.
"""

import copy
import inspect
import operator
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import fx, nn

from hilum.errors import InvalidValueError
from hilum.models.initialisation import global_generator_kept
from hilum.models.traced.network import TracedNetwork, traced_network
from hilum.models.traced.program import Kind, Layer, OwnTensor, Program, Reference, Step, encoded
from hilum.models.traced.tables import FUNCTIONS, METHODS, MODULES, options_of

__all__ = ["trace_instance"]

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_LAYERS = frozenset(MODULES.values())
_NAMES: Mapping[Any, str] = MappingProxyType(
    {
        **{function: name for name, function in FUNCTIONS.items() if name != "getattr"},
        getattr: "getattr",
    }
)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def trace_instance(network: nn.Module) -> TracedNetwork:
    """Build a module again from what it does, without its code; the module stays as it is.

    Returns:
        The same network with the same weights, under the names they had; those of a single layer
        begin with "0.".

    Raises:
        InvalidValueError: it cannot be built again without its code; the message says what stands
            in the way, and the way out.
    """
    if type(network) in _LAYERS:
        network = nn.Sequential(network)
    program = _described(network)
    with global_generator_kept():
        traced = traced_network(program)
    weights, own = network.state_dict(), traced.state_dict()
    traced.load_state_dict({name: weights[name] for name in own})
    learns = {name: parameter.requires_grad for name, parameter in network.named_parameters()}
    for name, parameter in traced.named_parameters():
        parameter.requires_grad_(learns[name])
    return traced.train(network.training)


def _described(network: nn.Module) -> Program:
    """The program of a module, which has to do the same in training and in evaluation."""
    followed = _copied(network)  # for its code may count, or change its tensors
    programs = []
    for mode in (True, False):
        for module in followed.modules():
            module.training = mode
        programs.append(_Description(followed).program())
    in_training, in_evaluation = programs
    if in_training.to_json() != in_evaluation.to_json():
        raise _refused(network, "it does something else in training than in evaluation")
    after = dict(followed.named_buffers())
    for path, tensor in network.named_buffers():
        if not torch.equal(tensor.nan_to_num(), after[path].nan_to_num()):
            raise _refused(network, f"its code changes its tensor {path!r}")
    return in_training


def _copied(network: nn.Module) -> nn.Module:
    """A copy that shares its parameters, for torch.fx lets no code change those."""
    try:
        return copy.deepcopy(network, {id(own): own for own in network.parameters()})
    except Exception as error:  # whatever else the module holds
        raise _refused(network, f"it cannot be copied: {_first_line(error)}") from error


def _in_place(operation: Callable[[Any, Any], Any]) -> Callable[[fx.Proxy, Any], fx.Proxy]:
    def noted(self: fx.Proxy, other: Any) -> fx.Proxy:
        return self.tracer.create_proxy("call_function", operation, (self, other), {})

    return noted


_OPERATORS_IN_PLACE = tuple(
    getattr(operator, name)
    for name in (
        *("iadd", "iand", "ifloordiv", "ilshift", "imatmul", "imod", "imul"),
        *("ior", "ipow", "irshift", "isub", "itruediv", "ixor"),
    )
)


class _Proxy(fx.Proxy):
    """Notes `y += 1` as that. torch.fx takes it for `y = y + 1`, and other names of y miss it."""


for _operation in _OPERATORS_IN_PLACE:
    setattr(_Proxy, f"__{_operation.__name__}__", _in_place(_operation))


class _Tracer(fx.Tracer):
    """Looks into all but the layers of the table."""

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """The stand-in for a value."""
        return _Proxy(node, self)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether it is one; raises where it is neither that nor code that can be followed."""
        where = f"its part {module_qualified_name!r} ({type(m).__name__})"
        _check_code(self.root, m, where)
        if type(m) in _LAYERS:
            return True
        if type(m).__module__.startswith("torch.") and not isinstance(m, _CONTAINERS):
            raise _refused(self.root, f"{where} is no layer that can be described")
        return False


class _Description:
    """The graph of a module, and what becomes of it."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        _check_code(network, network, "it")
        _check_sharing(network)
        parameters = inspect.signature(network.forward).parameters.values()
        lists = [str(p) for p in parameters if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        if lists:
            raise _refused(network, f"its forward takes {', '.join(lists)}")
        # Arguments with a default keep it; the columns are the others.
        given = {p.name: p.default for p in parameters if p.default is not p.empty}
        required = {p.name for p in parameters if p.default is p.empty}
        try:
            self.graph = _Tracer().trace(network, concrete_args=given or None)
        except InvalidValueError:
            raise
        except Exception as error:  # whatever the network's code raises when it meets a stand-in
            raise _refused(network, f"its code cannot be followed: {_first_line(error)}") from error
        begun = [node for node in self.graph.nodes if node.op == "placeholder"]
        self.inputs = tuple(node.name for node in begun if str(node.target) in required)
        self._erase_notes()

    def _erase_notes(self) -> None:
        """Take out assertions, such as those about arguments with a default, and what they read.

        All else stays, for it may change a tensor in place that is read by another name.
        """
        only_noted: set[fx.Node] = set()
        for node in reversed(list(self.graph.nodes)):
            is_note = getattr(node.target, "__name__", "") in ("_assert", "_assert_is_none")
            called = node.op in ("call_function", "call_method") and not _may_write(node)
            looks = node.op == "get_attr" or node.target is getattr
            if is_note or (not node.users and (looks or (called and node in only_noted))):
                only_noted.update(node.all_input_nodes)
                self.graph.erase_node(node)

    def program(self) -> Program:
        """The graph as data."""
        layers: dict[str, Layer] = {}
        tensors: dict[str, OwnTensor] = {}
        steps: list[Step] = []
        result: Any = None
        for node in self.graph.nodes:
            if node.op == "output":
                result = self._plain(node.args[0], "its result")
            elif node.op != "placeholder":
                steps.append(self._step(node))
                path = str(node.target)
                if node.op == "call_module":
                    layers.setdefault(path, self._layer(path))
                elif node.op == "get_attr":
                    tensors.setdefault(path, self._tensor(path))
        for path in tensors:
            layer = path.rpartition(".")[0]
            if layer in layers:
                why = f"it calls its part {layer!r} and reads {path!r} beside that"
                raise _refused(self.network, why)
        return Program(
            name=type(self.network).__name__,
            inputs=self.inputs,
            layers=layers,
            tensors=tensors,
            steps=tuple(steps),
            result=result,
        )

    def _step(self, node: fx.Node) -> Step:
        what = getattr(node.target, "__name__", str(node.target))
        args, kwargs = self._plain(node.args, what), self._plain(dict(node.kwargs), what)
        kind: Kind
        if node.op == "call_module":
            kind, target = "layer", str(node.target)
        elif node.op == "get_attr":
            kind, target, args = "tensor", str(node.target), ()
        elif node.op == "call_method":
            kind, target = "method", str(node.target)
            if target not in METHODS:
                raise _refused(self.network, f"it calls the method {target!r} of a tensor")
        else:
            kind, target = "function", _NAMES.get(node.target, "")
            if target == "getattr" and args[1] != "shape":
                raise _refused(self.network, f"it reads the attribute {args[1]!r} of a tensor")
            if not target:
                hint = "; nn.Dropout can be described" if "dropout" in what else ""
                raise _refused(self.network, f"it calls the function {what!r}{hint}")
        return Step(name=node.name, kind=kind, target=target, args=args, kwargs=kwargs)

    def _plain(self, value: Any, what: str) -> Any:
        plain = _of_python(value)
        try:
            encoded(plain)
        except InvalidValueError as error:
            raise _refused(self.network, f"{what} is given what is not plain: {error}") from error
        return plain

    def _layer(self, path: str) -> Layer:
        layer = self.network.get_submodule(path)
        options = options_of(layer)
        try:
            encoded(options)
            with torch.device("meta"):
                again = type(layer)(**options)
        except Exception as error:  # what a layer raises for options is up to PyTorch
            raise _refused(self.network, f"its part {path!r} ({layer}) has {error}") from error
        shapes = [{n: t.shape for n, t in m.state_dict().items()} for m in (layer, again)]
        if again.extra_repr() != layer.extra_repr() or shapes[0] != shapes[1]:
            raise _refused(self.network, f"its part {path!r} ({layer}) was changed")
        return Layer(kind=type(layer).__name__, options=options)

    def _tensor(self, path: str) -> OwnTensor:
        owner, _, name = path.rpartition(".")
        holder = self.network.get_submodule(owner)
        found = getattr(holder, name)
        if path not in self.network.state_dict():
            raise _refused(self.network, f"its tensor {path!r} is in no state dict")
        dtype = str(found.dtype).removeprefix("torch.")
        learns = isinstance(found, nn.Parameter)
        return OwnTensor(shape=tuple(found.shape), dtype=dtype, learns=learns)


def _may_write(node: fx.Node) -> bool:
    """Whether a function or method may change what it is given; a doubt counts as yes."""
    if node.target in _OPERATORS_IN_PLACE:
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


def _check_code(network: nn.Module, module: nn.Module, where: str) -> None:
    if any(getattr(module, hooks, None) for hooks in _HOOKS):
        raise _refused(network, f"{where} has hooks")
    if "forward" in vars(module):
        raise _refused(network, f"{where} has a forward that is not of its class")
    code = getattr(type(module).forward, "__code__", None)
    reads_mode = code is not None and "training" in code.co_names
    if reads_mode and type(module) not in _LAYERS:
        raise _refused(network, f"{where} asks in its code whether it is in training")


def _check_sharing(network: nn.Module) -> None:
    paths: dict[int, str] = {}
    for path, parameter in network.named_parameters(remove_duplicate=False):
        other = paths.setdefault(id(parameter), path)
        if other != path:
            raise _refused(network, f"{other!r} and {path!r} are one parameter")


def _refused(network: nn.Module, why: str) -> InvalidValueError:
    return InvalidValueError(
        "model must be a module that can be built again without its code. "
        f"Got a {type(network).__name__}: {why}. Hint: put a function that builds it into a module "
        "of yours, mark it with @hilum.models.network_factory and give the function; weights= "
        "takes a file of its state dict. Networks of torchvision and timm go by their names."
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
