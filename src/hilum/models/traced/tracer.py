"""Follows a network's code in both modes at once, with torch.fx.

What a module's code does with `self.training` is kept as a question. Where the code decides by it,
it is run in both modes. Steps that turn out the same are one step, constants that differ (the
`p if self.training else 0.0` of attention) are chosen by the question, and only what is really
another step in each mode is done or left out by it.
"""

import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import fx, nn

from hilum.models.traced.stand_ins import Held, Mode, StandIn
from hilum.models.traced.tables import choose, name_of_function, name_of_layer
from hilum.models.traced.value_types import type_of, type_of_layer
from hilum.models.traced.watching import FOLLOWING, watched

__all__ = ["ModeTracer", "ask_mode"]


_MAX_QUESTIONS = 8  # at once: the code is run for each of their combinations


def ask_mode(path: str) -> bool:
    """Stands in graphs for the question whether the module at a path is in training."""
    raise NotImplementedError(path)


class _Undecided(BaseException):
    """The code of a module decides by a mode; no code of a user's may catch it."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


class ModeTracer(fx.Tracer):
    """Looks into all but the layers of the table.

    Args:
        check: called with every module and its path; raises for one that cannot be taken.
        both: follow both modes; else the modes that the modules are in.

    Attributes:
        when: for nodes that are done in one mode only, the question and the answer.
        nested: paths of the modules whose modes decide together.
    """

    def __init__(self, check: Callable[[nn.Module, str], None], *, both: bool) -> None:
        super().__init__()
        self._check, self._both = check, both
        self._decided: dict[str, bool] = {}
        self.when: dict[fx.Node, tuple[fx.Node, bool]] = {}
        self.nested: dict[str, None] = {}

    def trace(self, root: Any, concrete_args: dict[str, Any] | None = None) -> fx.Graph:
        """The graph of a network (a module); its parts are as they were afterwards."""
        with FOLLOWING:
            return self._trace(root, concrete_args)

    def _trace(self, root: Any, concrete_args: dict[str, Any] | None) -> fx.Graph:
        before = {module: _attributes(module) for module in root.modules()}
        try:
            if self._both:
                for path, module in root.named_modules():
                    if "training" in vars(module):
                        vars(module)["training"] = self._mode(path)
            modes = {path: vars(one).get("training") for path, one in root.named_modules()}
            with watched(self.create_proxy), torch.enable_grad():
                graph = super().trace(root, concrete_args)
            for path, module in root.named_modules():
                _require_kept(module, before[module], modes[path])
        finally:
            for module, attributes in before.items():
                vars(module).clear()
                vars(module).update(attributes)
        graph.lint()
        return graph

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether it is a layer of the table."""
        self._check(m, module_qualified_name)
        return bool(name_of_layer(type(m)))

    def create_args_for_root(
        self, root_fn: Any, is_module: bool, concrete_args: Any = None
    ) -> tuple[Any, list[Any]]:
        """As of torch.fx; the network itself may decide by its mode, too."""
        function, args = super().create_args_for_root(root_fn, is_module, concrete_args)

        def forward(*given: Any) -> Any:
            return self._in_both("", lambda: function(*given))

        return forward, args

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: dict[str, Any]
    ) -> Any:
        """As of torch.fx; a module may decide by its mode."""
        call = super().call_module
        return self._in_both(self.path_of_module(m), lambda: call(m, forward, args, kwargs))

    def create_arg(self, a: Any) -> Any:
        """As of torch.fx, which asks for types that stand-ins only pretend to have."""
        if issubclass(type(a), fx.Proxy):
            return a.node
        return super().create_arg(a)

    def create_proxy(
        self, kind: str, target: Any, args: Any, kwargs: Any, *rest: Any, **more: Any
    ) -> Any:
        """As of torch.fx; functions that libraries keep it out of are followed all the same."""
        package = str(getattr(target, "__module__", "")).partition(".")[0]
        own = isinstance(target, types.FunctionType) and package not in ("torch", "hilum")
        if kind == "call_function" and own and not name_of_function(target):
            return target(*args, **kwargs)
        return super().create_proxy(kind, target, args, kwargs, *rest, **more)

    def create_node(self, kind: str, target: Any, *rest: Any, **more: Any) -> fx.Node:
        """As of torch.fx, which misses contexts."""
        if not torch.is_grad_enabled():
            raise TypeError("it computes without gradients (torch.no_grad); detach can be followed")
        node = super().create_node(kind, target, *rest, **more)
        if kind == "call_module":
            node.meta["type"] = type_of_layer(self.root.get_submodule(target), node.args)
        type_of(node)  # while those of what it reads are known
        return node

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """The stand-in for a value."""
        return StandIn(node, self)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """Stand-ins for the tensors of modules, a new one each time: a step may be left out."""
        if not isinstance(attr_val, torch.Tensor) or issubclass(type(attr_val), fx.Proxy):
            return attr_val
        held = (*self.root.named_parameters(), *self.root.named_buffers())
        path = next((name for name, tensor in held if tensor is attr_val), "")
        if not path:
            return attr_val
        return Held(self.create_node("get_attr", path, (), {}), self, attr_val)

    def _mode(self, path: str) -> Mode:
        def ask() -> fx.Node:
            return self.create_node("call_function", ask_mode, (path,), {})

        return Mode(ask, lambda: self._decide(path))

    def _in_both(self, path: str, call: Callable[[], Any]) -> Any:
        """What a call gives; where it decides by the mode of the module at `path`, in each.

        Modes of modules that are not being called are decided for the whole network, at "".
        """
        stack = self.module_stack.copy()
        last = next(reversed(self.graph.nodes), None)
        try:
            return call()
        except _Undecided as undecided:
            if path and undecided.path != path:
                raise
            asked = undecided.path
        self._erase(self._nodes_after(last))
        if self._decided:
            self.nested |= dict.fromkeys((*self._decided, asked))
        if len(self._decided) >= _MAX_QUESTIONS:
            paths = ", ".join(self._decided)
            raise TypeError(f"it decides by the modes of too many modules at once ({paths}, ...)")
        question = self.create_node("call_function", ask_mode, (asked,), {})
        results: list[Any] = []
        runs: list[list[fx.Node]] = []
        for mode in (True, False):
            begin = next(reversed(self.graph.nodes))
            self.module_stack = stack.copy()
            self._decided[asked] = mode
            try:
                results.append(self._in_both(path, call))
            finally:
                del self._decided[asked]
            runs.append(self._nodes_after(begin))
        same = self._merge(question, runs[0], runs[1])
        result = self._joint(question, results[0], results[1], same)
        if not question.users and question not in [asked for asked, _ in self.when.values()]:
            self._erase([question])
        return result

    def _decide(self, path: str) -> bool:
        if path not in self._decided:
            raise _Undecided(path)
        return self._decided[path]

    def _nodes_after(self, last: fx.Node | None) -> list[fx.Node]:
        nodes = list(self.graph.nodes)
        return nodes[nodes.index(last) + 1 :] if last is not None else nodes

    def _erase(self, nodes: Sequence[fx.Node]) -> None:
        for node in reversed(nodes):
            self.when.pop(node, None)
            self.graph.erase_node(node)

    def _merge(
        self, question: fx.Node, training: list[fx.Node], evaluation: list[fx.Node]
    ) -> dict[fx.Node, fx.Node]:
        """Make one of the steps with which both runs begin and end.

        Those between depend on the question.

        Returns:
            For nodes that are gone, those that stand for them.
        """
        begin, end = self._ends(training, evaluation)
        same: dict[fx.Node, fx.Node] = {}
        for ours, theirs in begin:
            self._unite(question, (ours, theirs), ours, same)
        for ours, theirs in end:  # the later ones stay, behind all that they read
            self._unite(question, (ours, theirs), theirs, same)
        ends = {node for pair in (*begin, *end) for node in pair}
        for answer, nodes in ((True, training), (False, evaluation)):
            for node in nodes:
                if node not in ends:
                    self.when.setdefault(node, (question, answer))
        for node, (asked, answer) in self.when.items():
            self.when[node] = (same.get(asked, asked), answer)
        gone = set(same)
        self._erase([node for node in (*training, *evaluation) if node in gone])
        return same

    def _unite(
        self,
        question: fx.Node,
        pair: tuple[fx.Node, fx.Node],
        stays: fx.Node,
        same: dict[fx.Node, fx.Node],
    ) -> None:
        ours, theirs = pair
        with self.graph.inserting_before(stays):
            args = self._joint(question, ours.args, theirs.args, same)
            kwargs = self._joint(question, ours.kwargs, theirs.kwargs, same)
        stays.args, stays.kwargs = args, kwargs
        if type_of(ours) is not type_of(theirs):
            stays.meta["type"] = None
        gone = theirs if stays is ours else ours
        gone.replace_all_uses_with(stays)
        same[gone] = stays

    def _ends(
        self, training: list[fx.Node], evaluation: list[fx.Node]
    ) -> tuple[list[tuple[fx.Node, fx.Node]], list[tuple[fx.Node, fx.Node]]]:
        """Pairs of steps with which both runs begin and end.

        A step of one mode knows one question. Where it lies between, that has to lie there, too, so
        that it is asked in that mode only.
        """
        apart: set[fx.Node] = set()
        while True:
            begin, end = self._alike(training, evaluation, apart)
            ends = {node for pair in (*begin, *end) for node in pair}
            between = {*training, *evaluation} - ends
            asked = {self.when[node][0] for node in between if node in self.when}
            if not asked & ends:
                return begin, end
            apart |= asked

    def _alike(
        self, training: list[fx.Node], evaluation: list[fx.Node], apart: set[fx.Node]
    ) -> tuple[list[tuple[fx.Node, fx.Node]], list[tuple[fx.Node, fx.Node]]]:
        """Pairs of steps with which both runs begin and end, but for those that stay apart."""
        # Those are questions, which read nothing: what stands behind them need not wait.
        training = [node for node in training if node not in apart]
        evaluation = [node for node in evaluation if node not in apart]
        same: dict[fx.Node, fx.Node] = {}
        begin: list[tuple[fx.Node, fx.Node]] = []
        for ours, theirs in zip(training, evaluation, strict=False):
            if not self._is_like(ours, theirs, same):
                break
            begin.append((ours, theirs))
            same[theirs] = ours
        left = min(len(training), len(evaluation)) - len(begin)
        for length in range(left, 0, -1):
            pairs = list(zip(training[-length:], evaluation[-length:], strict=True))
            assumed = dict(same)
            for ours, theirs in pairs:
                if not self._is_like(ours, theirs, assumed):
                    break
                assumed[ours] = theirs
            else:
                return begin, pairs
        return begin, []

    def _is_like(self, ours: fx.Node, theirs: fx.Node, same: dict[fx.Node, fx.Node]) -> bool:
        """Whether one step may stand for two, with arguments that may depend on the mode."""
        guards = []
        for node in (ours, theirs):
            asked, answer = self.when.get(node, (None, None))
            guards.append((same.get(asked, asked) if asked else None, answer))
        return (
            (ours.op, ours.target) == (theirs.op, theirs.target)
            and guards[0] == guards[1]
            and len(ours.args) == len(theirs.args)
            and list(ours.kwargs) == list(theirs.kwargs)
            and (ours.target is not ask_mode or ours.args == theirs.args)
        )

    def _joint(
        self, question: fx.Node, ours: Any, theirs: Any, same: Mapping[fx.Node, fx.Node]
    ) -> Any:
        """The one value for what two runs have: nodes, stand-ins, or plain values of them."""
        nodes = [one.node if issubclass(type(one), fx.Proxy) else one for one in (ours, theirs)]
        nodes = [same.get(one, one) if isinstance(one, fx.Node) else one for one in nodes]
        is_proxy = any(issubclass(type(one), fx.Proxy) for one in (ours, theirs))
        if nodes[0] is nodes[1] or (type(ours) is type(theirs) and _are_equal(*nodes)):
            return self.proxy(nodes[0]) if is_proxy else nodes[0]
        plain = [one is None or isinstance(one, (fx.Node, *_PLAIN)) for one in nodes]
        if all(plain):
            node = self.graph.call_function(choose, (question, *nodes))
            return self.proxy(node) if is_proxy else node
        if isinstance(ours, slice) and isinstance(theirs, slice):
            ends = [(getattr(ours, n), getattr(theirs, n)) for n in ("start", "stop", "step")]
            return slice(*(self._joint(question, one, other, same) for one, other in ends))
        if type(ours) is not type(theirs) or len(ours) != len(theirs):
            names = [type(one).__name__ for one in nodes]
            raise TypeError(f"it gives a {names[0]} in training and a {names[1]} in evaluation")
        if isinstance(ours, dict):
            return {
                name: self._joint(question, one, theirs[name], same) for name, one in ours.items()
            }
        pairs = zip(ours, theirs, strict=True)
        joined = [self._joint(question, one, other, same) for one, other in pairs]
        return type(ours)(*joined) if hasattr(ours, "_fields") else type(ours)(joined)


_HOLDERS = ("_parameters", "_buffers", "_modules")


def _attributes(module: nn.Module) -> dict[str, Any]:
    return {n: dict(v) if n in _HOLDERS else v for n, v in vars(module).items()}


def _require_kept(module: nn.Module, attributes: Mapping[str, Any], mode: Any) -> None:
    if vars(module).get("training") is not mode:
        raise TypeError(f"it changes the mode of a {type(module).__name__}")
    for holder in _HOLDERS:
        own, old = vars(module)[holder], attributes[holder]
        replaced = [name for name in {**old, **own} if own.get(name) is not old.get(name)]
        if replaced:
            raise TypeError(f"it replaces {replaced[0]!r} of a {type(module).__name__}")


_PLAIN = (bool, int, float, str, torch.device, torch.dtype)


def _are_equal(one: Any, other: Any) -> bool:
    return isinstance(one, _PLAIN) and bool(one == other)
