"""Keras: `.keras`, `.h5` and `.weights.h5` files, without Keras.

The configuration says which layers there are, the variables are numbers; both are read, nothing is
run. Lambda layers and classes of one's own are Python code and are refused by name.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from hilum.errors import InvalidValueError, require
from hilum.models.recipes import LoadedModel, PixelContract
from hilum.models.roads.assembly import Assembly
from hilum.models.roads.keras_activations import ACTIVATIONS
from hilum.models.roads.keras_arithmetic import ARITHMETIC
from hilum.models.roads.keras_files import keras_file
from hilum.models.roads.keras_graph import Call, Tensor, walk
from hilum.models.roads.keras_layer import IMAGE_RANK, Layer, Value
from hilum.models.roads.keras_layers import IMAGE_LAYERS

__all__ = ["load_keras"]

_KINDS: Mapping[str, Callable[[Layer, Sequence[Value]], Value]] = MappingProxyType(
    {**IMAGE_LAYERS, **ARITHMETIC, **ACTIVATIONS}
)


def load_keras(
    path: str | Path,
    *,
    definition: str | Path | None = None,
    outputs: Sequence[str] | None = None,
) -> LoadedModel:
    """Read a model that Keras 1, 2 or 3 saved.

    Images go in as (N, C, H, W), though Keras keeps them as (N, H, W, C). A node has the name of
    its layer, "base/conv1" within a nested model, and gives what the layer gives, its activation
    included; the numbers before it are in a node NAME/linear.

    Args:
        path: of the file.
        definition: JSON of `model.to_json()`, where the file holds variables alone.
        outputs: names of layers; None for the model's own.

    Raises:
        InvalidValueError: the file is damaged, or a kind of layer is not known here.
        MissingDependencyError: h5py is not installed.
    """
    path = Path(path)
    require(path.is_file(), "a Keras model", "an existing file", str(path))
    with keras_file(path, None if definition is None else Path(definition)) as file:
        graph = walk(file.config)
        assembly = Assembly([name for name, _ in graph.inputs], file.bytes_at_hand)
        values: dict[Tensor, Value] = {
            (name, 0, 0): Value(node, len(shape))
            for (name, shape), node in zip(graph.inputs, assembly.inputs, strict=True)
        }
        by_name: dict[str, Value] = {}
        for call in graph.calls:
            layer = Layer(call, assembly, file.variables, file.major)
            made = _kind(call)(layer, [values[source] for source in call.reads])
            values[(call.path, call.number, 0)] = by_name[layer.name] = made
        for name in outputs or ():
            require(name in by_name, "outputs", f"layers: {', '.join(by_name)}", name)
        for tensor in graph.outputs:
            require(tensor in values, "outputs of the model", "outputs of layers", tensor[0])
        wanted = [by_name[n] for n in outputs] if outputs else [values[t] for t in graph.outputs]
    shape = graph.inputs[0][1]
    known = len(shape) == IMAGE_RANK and shape[1] is not None and shape[2] is not None
    return assembly.finish(
        [value.node for value in wanted],
        files=(path,),
        pixels=PixelContract(size_px=(shape[1] or 0, shape[2] or 0) if known else None),
    )


def _kind(call: Call) -> Callable[[Layer, Sequence[Value]], Value]:
    if call.kind not in _KINDS:
        raise InvalidValueError(
            f"layer {call.path!r} must be of a kind Hilum knows ({', '.join(sorted(_KINDS))}). "
            f"Got {call.kind}. Hint: Lambda layers and classes of one's own are Python code, which "
            "is not run; cut the model before it, or export it as ONNX."
        )
    return _KINDS[call.kind]
