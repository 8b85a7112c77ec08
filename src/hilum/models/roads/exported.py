"""torch.export programs (`.pt2`), read without torch.export.

`torch.export.load` unpickles sample inputs and custom objects and evaluates symbolic expressions,
so a file could run code. Here the graph's JSON and the raw bytes of the weights are read, and every
operator becomes a layer. The form is that of PyTorch 2.8 and later (PT2 archive, schema 8).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hilum.errors import InvalidValueError, require
from hilum.models.recipes import LoadedModel, PixelContract
from hilum.models.roads.archives import Archive, opened
from hilum.models.roads.assembly import Array, Assembly
from hilum.models.roads.aten import call
from hilum.models.roads.aten_site import AtenSite
from hilum.models.roads.tracing import Flow, Shape, Tracer

__all__ = ["load_exported"]

MAX_TEXT_BYTES = 256 << 20
_SCHEMA = 8
_MODULES = "torch.nn.modules."

# Numbers of torch._export.serde.schema.ScalarType.
_KINDS: Mapping[int, torch.dtype] = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    12: torch.bool,
    13: torch.bfloat16,
}


def load_exported(path: str | Path, *, outputs: Sequence[str] | None = None) -> LoadedModel:
    """Read a program that `torch.export.save` wrote.

    A node has the name of its module, "layer1/0/conv1", or of its value where it is a function.

    Args:
        path: of the file.
        outputs: names of nodes; None for the program's own outputs.

    Raises:
        InvalidValueError: the file is damaged, of another version, exported in training mode, or
            holds an operator that is not known here.
    """
    path = Path(path)
    with opened(path, "a torch.export program") as archive:
        try:
            return _Program(archive, path).load(outputs)
        # JSON of strangers: whatever is not where it should be.
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            raise InvalidValueError(
                f"a torch.export program must be as PyTorch writes it. Got {error!r} in "
                f"{str(path)!r}. Hint: the file is damaged, or of a version Hilum does not know."
            ) from error


class _Program:
    def __init__(self, archive: Archive, path: Path) -> None:
        self._archive, self._path = archive, path
        models = [
            name
            for name in archive.names
            if name.split("/")[-2:-1] == ["models"] and name.endswith(".json")
        ]
        require(len(models) == 1, "programs in a .pt2 file", "one", models)
        self._root = models[0].rpartition("models/")[0]
        self._model = models[0].rpartition("/")[2].removesuffix(".json")
        self._program = self._json(models[0])
        version = self._program["schema_version"]["major"]
        require(version == _SCHEMA, "schema of a torch.export program", f"{_SCHEMA}", version)
        self._graph = self._program["graph_module"]["graph"]
        self._values: dict[str, Any] = {}
        self._names: dict[str, str] = {}  # of constants, as the module calls them

    def load(self, outputs: Sequence[str] | None) -> LoadedModel:
        signature = self._program["graph_module"]["signature"]
        tensors = {**self._tensors("weights"), **self._tensors("constants")}
        given: list[str] = []
        for spec in signature["input_specs"]:
            ((kind, content),) = spec.items()
            name = content["arg"].get("name") or content["arg"]["as_tensor"]["name"]
            if kind == "user_input":
                given.append(name)
                continue
            key = {
                "parameter": "parameter_name",
                "buffer": "buffer_name",
                "tensor_constant": "tensor_constant_name",
            }.get(kind)
            require(key is not None, "inputs of a torch.export program", "tensors", kind)
            self._names[name] = str(content[key])
            require(content[key] in tensors, "tensors of the program", "complete", content[key])
            self._values[name] = tensors[content[key]]
        shapes = [self._shape(name) for name in given]
        size = sum(array.nbytes for array in tensors.values())
        tracer = Tracer(Assembly(given, size), shapes)
        batch = shapes[0][0] if shapes and shapes[0] else None
        for name, node in zip(given, tracer.assembly.inputs, strict=True):
            self._values[name] = tracer.flow(node)
        for node in self._graph["nodes"]:
            self._run(node, tracer, batch)
        wanted = list(self._outputs(signature)) if outputs is None else list(outputs)
        made = {node.name for node in tracer.assembly.nodes}
        nodes = []
        for name in wanted:
            value = self._values.get(name)
            node_name = value.node if isinstance(value, Flow) else name
            require(
                node_name in made, "outputs", f"nodes: ..., {', '.join(sorted(made)[-5:])}", name
            )
            nodes.append(node_name)
        known = shapes and shapes[0] is not None and len(shapes[0]) == 4
        height, width = (shapes[0] or ())[2:4] if known else (None, None)
        return tracer.assembly.finish(
            nodes,
            files=(self._path,),
            pixels=PixelContract(size_px=(height, width) if height and width else None),
            note=f"torch.export, PyTorch {self._program.get('torch_version', 'unknown')}",
        )

    def _outputs(self, signature: Mapping[str, Any]) -> Iterator[str]:
        for spec in signature["output_specs"]:
            ((kind, content),) = spec.items()
            require(
                kind == "user_output",
                "outputs of a torch.export program",
                "values, nothing changed in place",
                kind,
                hint="export it in evaluation mode: model.eval()",
            )
            yield content["arg"]["as_tensor"]["name"]

    def _run(self, node: Mapping[str, Any], tracer: Tracer, batch: int | None) -> None:
        target = str(node["target"])
        arguments = {item["name"]: self._argument(item["arg"]) for item in node["inputs"]}
        results = [name for output in node["outputs"] for name in _result_names(output)]
        if not results:
            return  # an assertion about sizes
        parts = target.split(".")
        operator = parts[-2] if parts[:3] == ["torch", "ops", "aten"] else target
        if operator == "sym_size":
            flow, dim = arguments["self"], arguments["dim"]
            shape = flow.shape or ()
            self._values[results[0]] = shape[dim] if 0 < dim < len(shape) else None
            return
        if any("as_sym_int" in output for output in node["outputs"]):
            self._values[results[0]] = None  # arithmetic with sizes that are not known
            return
        tensors = [item for item in arguments.values() if isinstance(item, Flow | list)]
        constant = arguments.get("self")
        if isinstance(constant, np.ndarray) and not any(isinstance(t, Flow) for t in tensors):
            self._values[results[0]] = _of_constant(operator, constant, arguments)
            return
        base = operator.rstrip("_")
        site = AtenSite(self._name(node, arguments, results[0]), base, arguments, tracer, batch)
        made = call(site)
        for name, flow in zip(results, made if isinstance(made, list) else [made], strict=False):
            self._values[name] = flow
        if operator.endswith("_") and isinstance(made, Flow):
            self._replace(arguments, made)

    def _replace(self, arguments: Mapping[str, Any], made: Flow) -> None:
        """After an operator that works in place, all names of its tensor mean the new value."""
        changed = next(iter(arguments.values()))
        for name, value in self._values.items():
            if isinstance(value, Flow) and value == changed:
                self._values[name] = made

    def _name(self, node: Mapping[str, Any], arguments: Mapping[str, Any], result: str) -> str:
        """The module's path: of its weight, or as the exporter noted it."""
        for item in node["inputs"]:
            constant = item["arg"].get("as_tensor", {}).get("name")
            if item["name"] in ("weight", "mat2") and constant in self._names:
                return self._names[constant].rpartition(".")[0].replace(".", "/") or result
        stack = str(node["metadata"].get("nn_module_stack", "")).split(";")[-1].split(",")
        if len(stack) == 3 and stack[2].startswith(_MODULES) and stack[1]:
            return stack[1].replace(".", "/")
        return result

    def _argument(self, argument: Mapping[str, Any]) -> Any:
        ((kind, content),) = argument.items()
        if kind == "as_none":
            return None
        if kind == "as_tensor":
            return self._values[content["name"]]
        if kind == "as_tensors":
            return [self._values[item["name"]] for item in content]
        if kind == "as_sym_int":
            return _symbol(content, self._values)
        if kind == "as_sym_ints":
            return [_symbol(item, self._values) for item in content]
        if kind == "as_optional_tensor":
            return self._argument({k: v for k, v in content.items() if k != "kind"})
        plain = ("as_int", "as_ints", "as_float", "as_floats", "as_bool", "as_bools", "as_string")
        if kind in plain:
            return content
        return f"<{kind}>"  # devices, memory formats: nothing a layer depends on

    def _shape(self, name: str) -> Shape:
        sizes = self._graph["tensor_values"][name]["sizes"]
        found = tuple(size.get("as_int") for size in sizes)
        sane = all(n is None or (type(n) is int and 0 < n < 1 << 31) for n in found)
        require(sane, f"sizes of input {name!r}", "sane", found)
        return found

    def _json(self, name: str) -> dict[str, Any]:
        try:
            data = json.loads(self._archive.read(name, MAX_TEXT_BYTES))
        except (ValueError, RecursionError) as error:
            raise InvalidValueError(f"{name!r} must be JSON. Got {error}.") from error
        require(isinstance(data, dict), name, "an object", type(data).__name__)
        return dict(data)

    def _tensors(self, kind: str) -> dict[str, Array]:
        folder = f"{self._root}data/{kind}/"
        listed = f"{folder}{self._model}_{kind}_config.json"
        if listed not in self._archive.names:
            require(kind != "weights", "a torch.export program", f"with {listed}", "none")
            return {}
        found: dict[str, Array] = {}
        left = 2 * self._path.stat().st_size
        for name, meta in self._json(listed)["config"].items():
            plain = not meta["use_pickle"] and "custom" not in str(meta["path_name"])
            require(
                plain,
                f"tensor {name!r}",
                "plain numbers",
                meta["path_name"],
                hint="objects are pickled, which could run code: export without them",
            )
            found[name] = _tensor(
                name, meta["tensor_meta"], self._archive, folder + meta["path_name"]
            )
            left -= found[name].nbytes
            require(left >= 0, "tensors of a torch.export program", "no larger than its file", name)
        return found


def _tensor(name: str, meta: Mapping[str, Any], archive: Archive, member: str) -> Array:
    """Numbers of a member, in the layout that the list says."""
    what = f"tensor {name!r}"
    kind = _KINDS.get(meta["dtype"])
    require(kind is not None, what, "of floats or integers", f"kind {meta['dtype']}")
    assert kind is not None
    sizes = [size["as_int"] for size in meta["sizes"]]
    strides = [stride["as_int"] for stride in meta["strides"]]
    offset = meta["storage_offset"]["as_int"]
    numbers = [*sizes, *strides, offset]
    right = len(sizes) == len(strides) and all(type(n) is int and n >= 0 for n in numbers)
    require(right, f"shape of {what}", "of sizes of 0 or more", numbers)
    if 0 in sizes:
        return np.zeros(sizes, np.float32)
    data = archive.read(member)
    last = offset + sum((size - 1) * step for size, step in zip(sizes, strides, strict=True))
    count = len(data) // kind.itemsize
    require(last < count, what, f"inside the {count} numbers of {member}", last + 1)
    product = 1
    for size in sizes:
        product *= size
    require(product <= count, what, f"at most {count} numbers", sizes)
    whole = torch.frombuffer(bytearray(data), dtype=kind, count=count)
    tensor = whole.as_strided(sizes, strides, offset)
    return (tensor.float() if kind == torch.bfloat16 else tensor).numpy()


def _result_names(output: Mapping[str, Any]) -> list[str]:
    if "as_tensor" in output:
        return [output["as_tensor"]["name"]]
    if "as_tensors" in output:
        return [item["name"] for item in output["as_tensors"]]
    if "as_sym_int" in output:
        return [output["as_sym_int"]["as_name"]]
    return []


def _symbol(content: Mapping[str, Any], values: Mapping[str, Any]) -> int | None:
    if "as_int" in content:
        return int(content["as_int"])
    found = values.get(content["as_name"])
    return found if type(found) is int else None


def _of_constant(operator: str, constant: Array, arguments: Mapping[str, Any]) -> Array:
    """What is done to weights before they are used."""
    if operator == "t" or (operator == "transpose" and constant.ndim == 2):
        return constant.T
    if operator == "permute":
        return constant.transpose(arguments["dims"])
    if operator in ("view", "reshape"):
        return constant.reshape(arguments.get("size", arguments.get("shape")))
    if operator in ("alias", "clone", "contiguous", "detach", "detach_", "lift_fresh_copy", "to"):
        return constant
    way_out = "with parametrisations removed"
    if operator.endswith("_"):  # statistics that the forward pass counts
        way_out = "in evaluation mode: model.eval()"
    raise InvalidValueError(
        f"weights must be used as they are. Got {operator} of a constant. "
        f"Hint: export the network {way_out}."
    )
