"""TorchScript: only with the caller's trust, because its files are programs.

`torch.jit.load` runs code of the archive while it loads (`__setstate__`), and TorchScript can write
files (`aten::save`). There is no other reader, so the road is closed unless the caller opens it.
What comes out is a network of named nodes like any other; bundles of it hold no TorchScript.
"""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from hilum.errors import InvalidValueError, require
from hilum.models.recipes import LoadedModel, PixelContract
from hilum.models.roads.assembly import Assembly
from hilum.models.roads.aten import call
from hilum.models.roads.aten_site import AtenSite
from hilum.models.roads.tracing import Flow, Shape, Tracer

__all__ = ["load_torchscript"]

_SIZES: Mapping[str, Callable[[int, int], int | None]] = MappingProxyType(
    {
        "aten::floor_divide": lambda first, second: first // second if second else None,
    }
)


def load_torchscript(path: str | Path, *, trust: bool) -> LoadedModel:
    """Read a traced or scripted network, and run what code the file brings.

    Args:
        path: of the file.
        trust: whether to.

    Raises:
        InvalidValueError: without trust; a damaged file; an operator that is not known here.
    """
    path = Path(path)
    require(
        trust,
        "trust",
        "True for TorchScript, whose files are programs that run while they are read",
        trust,
        hint="export the network as ONNX or with torch.export, or say trust=True if you would "
        "also run a program of whoever made this file",
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that TorchScript is deprecated
            read: Callable[..., torch.jit.ScriptModule] = torch.jit.load
            module = read(str(path), map_location="cpu").eval()
            # Without optimize_numerics batch normalisation stays a layer of its own.
            graph = torch.jit.freeze(module, optimize_numerics=False).graph
    # What the interpreter raises is up to the file.
    except Exception as error:
        raise InvalidValueError(
            f"model must be TorchScript that PyTorch can read. Got {str(path)!r}: "
            f"{str(error).splitlines()[0] if str(error) else error!r}"
        ) from error
    return _Script(graph, path).load()


class _Script:
    def __init__(self, graph: Any, path: Path) -> None:
        self._graph, self._path = graph, path
        self._values: dict[str, Any] = {}

    def load(self) -> LoadedModel:
        given = [value.debugName() for value in self._graph.inputs()][1:]  # without the module
        require(bool(given), "inputs of the network", "one or more", given)
        assembly = Assembly(given, self._path.stat().st_size)
        tracer = Tracer(assembly, [self._shape(name) for name in given])
        for name, node in zip(given, tracer.assembly.inputs, strict=True):
            self._values[name] = tracer.flow(node)
        for node in self._graph.nodes():
            self._run(node, tracer)
        outputs = [self._values[value.debugName()] for value in self._graph.outputs()]
        if len(outputs) == 1 and isinstance(outputs[0], list):
            outputs = outputs[0]
        right = all(isinstance(output, Flow) for output in outputs)
        require(right, "outputs of the network", "tensors", [type(o).__name__ for o in outputs])
        return tracer.assembly.finish(
            [output.node for output in outputs],
            files=(self._path,),
            pixels=PixelContract(),
            note="TorchScript, trusted",
        )

    def _shape(self, name: str) -> Shape | None:
        """The shape of an image, whose channels the convolution that reads it tells."""
        for node in self._graph.nodes():
            inputs = list(node.inputs())
            reads = bool(inputs) and inputs[0].debugName() == name
            if reads and node.kind() in ("aten::conv2d", "aten::_convolution"):
                weight = inputs[1].toIValue()
                if isinstance(weight, torch.Tensor):
                    return None, weight.shape[1], None, None
        return None

    def _run(self, node: Any, tracer: Tracer) -> None:
        kind = node.kind()
        results = [value.debugName() for value in node.outputs()]
        inputs = [value.debugName() for value in node.inputs()]
        if kind == "prim::Constant":
            found = node.output().toIValue()
            tensor = isinstance(found, torch.Tensor)
            self._values[results[0]] = found.detach().numpy() if tensor else found
        elif kind in ("prim::ListConstruct", "prim::TupleConstruct"):
            self._values[results[0]] = [self._values[name] for name in inputs]
        elif kind in ("prim::ListUnpack", "prim::TupleUnpack"):
            self._values.update(zip(results, self._values[inputs[0]], strict=True))
        elif kind in ("prim::NumToTensor", "aten::Int", "aten::size") or kind in _SIZES:
            self._values[results[0]] = self._size(kind, [self._values[name] for name in inputs])
        elif kind.startswith("aten::"):
            names = [a.name for a in torch._C.parse_schema(node.schema()).arguments]
            arguments = {n: self._values[v] for n, v in zip(names, inputs, strict=False)}
            self._call(node, kind.removeprefix("aten::"), arguments, results, tracer)
        else:
            raise InvalidValueError(
                f"the network must be free of control flow. Got {kind}. "
                "Hint: trace it instead, or export it as ONNX."
            )

    def _size(self, kind: str, values: list[Any]) -> Any:
        """Arithmetic with sizes, None where the image has to tell."""
        if kind == "aten::size":
            flow = values[0]
            shape = (flow.shape if isinstance(flow, Flow) else None) or ()
            if len(values) == 1:
                return list(shape)
            dim = values[1]
            known = type(dim) is int and 0 < dim < len(shape)
            return shape[dim] if known else None
        if kind not in _SIZES:
            return values[0]
        first, second = values[:2]
        whole = type(first) is int and type(second) is int
        return _SIZES[kind](first, second) if whole else None

    def _call(
        self,
        node: Any,
        operator: str,
        arguments: Mapping[str, Any],
        results: list[str],
        tracer: Tracer,
    ) -> None:
        weights = [n for v in node.inputs() if (n := v.debugName()).endswith(".weight")]
        result = f"{operator.strip('_')}_{results[0]}" if results[0].isdecimal() else results[0]
        name = weights[0].removeprefix("self.").removesuffix(".weight") if weights else result
        site = AtenSite(name.replace(".", "/"), operator.rstrip("_"), dict(arguments), tracer, None)
        made = call(site)
        self._values[results[0]] = made
        if operator.endswith("_") and isinstance(made, Flow):
            changed = next(iter(arguments.values()))
            for key, value in self._values.items():
                if isinstance(value, Flow) and value == changed:
                    self._values[key] = made
