"""BigDL and Analytics Zoo: what `saveModule(path, weightPath)` wrote, of any version from 0.3 on.

The definition (.bigdl, .model) is a tree of modules in protocol buffers; the tensors stand within
it or in a file of their own (.bin). Nodes have the names of BigDL's modules, and the inner module
of a container is a node as well; the container's own name is that of its result.
"""

from pathlib import Path

from hilum.errors import require
from hilum.models.recipes import LoadedModel, PixelContract
from hilum.models.roads.assembly import Assembly
from hilum.models.roads.bigdl_containers import add_module
from hilum.models.roads.bigdl_definition import Module, Network
from hilum.models.roads.bigdl_tensors import Storages, read_weights_file
from hilum.models.roads.wire import read_file, read_message

__all__ = ["load_bigdl"]


def load_bigdl(definition: str | Path, weights: str | Path | None = None) -> LoadedModel:
    """Read a network of BigDL; it computes what `evaluate()` and `forward` compute there.

    The input is (N, C, H, W). Files do not say the order of its planes; the 2019 stack read images
    with OpenCV and kept blue, green, red unless told otherwise, so `pixels.channels` is "BGR".

    Args:
        definition: the file with the modules.
        weights: the file with the tensors, where they were saved apart.

    Raises:
        InvalidValueError: a file is damaged, a kind of module is not known here, tensors are
            missing.
        ChecksumError: the weights are not what was written.
    """
    definition = Path(definition)
    files = (definition,) if weights is None else (definition, Path(weights))
    data = read_file(definition, "a BigDL model")
    root = Module(read_message(data, "a BigDL model"))
    require(
        root.type != "",
        "a BigDL model",
        "a file that saveModule wrote",
        str(definition),
        hint="files of Java's serialisation (module.save) are not read: load them in BigDL once "
        "and save them with saveModule",
    )
    storages = Storages()
    storages.collect(root.message)
    if weights is not None:
        stored = read_file(files[-1], "BigDL weights")
        storages.add(read_weights_file(stored))
        data_bytes = len(data) + len(stored)
    else:
        data_bytes = len(data)
    network = Network(Assembly(_inputs(root), data_bytes), storages)
    outputs = add_module(network, root, list(network.assembly.inputs), is_root=True)
    return network.assembly.finish(outputs, files=files, pixels=PixelContract(channels="BGR"))


def _inputs(root: Module) -> list[str]:
    if root.kind not in ("Graph", "StaticGraph"):
        return ["input"]
    kinds = {child.name: child.kind for child in root.children}
    return [
        name if kinds.get(name) == "Input" else f"{name}/input" for name in root.texts("inputNames")
    ]
