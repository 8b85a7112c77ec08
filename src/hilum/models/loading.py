"""The one door for models: a name, or a file of any program, becomes a network that can train.

Behind it is a road per format, chosen by the file's content. Whatever comes, the result is the same
value, a `LoadedModel`: PyTorch layers, the tensors, the recipe that builds them elsewhere, and a
report of where they came from. Nothing that a file holds is run, but for the two formats that
cannot be read otherwise, and those only where the caller says `trust=True`.
"""

import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from hilum import storage
from hilum.errors import InvalidValueError, MissingDependencyError, require
from hilum.models.architectures import ARCHITECTURES, Architecture, architecture
from hilum.models.initialisation import global_generator_kept
from hilum.models.recipes import LibraryRecipe, LoadedModel, PixelContract
from hilum.models.recognition import FORMATS, TORCH7, recognise
from hilum.models.weights import WeightsReport, load_backbone

__all__ = ["load"]

_LIBRARIES = ("torchvision:", "timm:", "xrv:")

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """What the caller said beside the path; local paths only."""

    architecture: str | None
    definition: Path | None
    weights: Path | None
    inputs: tuple[str, ...] | None
    outputs: tuple[str, ...] | None
    trust: bool
    seed: int


def load(
    path_or_name: str | Path,
    *,
    weights: str | Path = "auto",
    architecture: str | None = None,
    definition: str | Path | None = None,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    trust: bool = False,
    seed: int = 0,
) -> LoadedModel:
    """Load a network with its weights, in evaluation mode.

    Args:
        path_or_name: a name ("resnet50", "torchvision:NAME", "timm:NAME", "xrv:densenet121"), or
            the path or URL (hdfs://, s3://, ...) of a file; a SavedModel is a directory.
        weights: for a name as in `build_classifier`: "auto", "published", "random" or a file of
            tensors; for a BigDL definition whose weights are a file of their own, that file.
        architecture: for a file of tensors alone: the name of the network they belong to.
        definition: for Caffe the .prototxt; for Keras weights the JSON of `model.to_json()`.
        inputs: for TensorFlow: names of the nodes that take images.
        outputs: names of the nodes whose values are wanted; None is the file's own outputs.
        trust: let the file run code of its own while it is read, which TorchScript and SavedModel
            need. Only for files from people you would run a program of.
        seed: of a random start, and of a head that has no weights.

    Returns:
        The network. It takes (N, C, H, W) float32, whatever order its program had.

    Raises:
        InvalidValueError: no such name or file, another format, a damaged file, or a layer that
            Hilum does not know; the message names it.
        MissingDependencyError: a package is not installed, or weights cannot be fetched.
        ChecksumError: weights kept from an earlier download are damaged.
    """
    name = str(path_or_name)
    if name in ARCHITECTURES or name.startswith(_LIBRARIES):
        return _named(name, weights, seed)
    with tempfile.TemporaryDirectory(prefix="hilum-model-") as folder:
        path = _on_disk(name, Path(folder))
        separate = None if str(weights) in ("auto", "published", "random") else str(weights)
        options = _Options(
            architecture=architecture,
            definition=None if definition is None else _on_disk(str(definition), Path(folder)),
            weights=None if separate is None else _on_disk(separate, Path(folder)),
            inputs=None if inputs is None else tuple(inputs),
            outputs=None if outputs is None else tuple(outputs),
            trust=trust,
            seed=seed,
        )
        loaded = _ROADS[recognise(path)](path, options)
        if options.weights is None and path != Path(name):
            loaded = replace(loaded, report=replace(loaded.report, source=name))
    _logger.info("loaded model source=%s tensors=%d", loaded.report.source, loaded.report.loaded)
    return loaded


def _on_disk(url: str, folder: Path) -> Path:
    """The local path of a file; one on remote storage is copied, and goes with the folder."""
    path = storage.local_path(url)
    if path is None:
        target = folder / url.rstrip("/").rsplit("/", 1)[-1]
        try:
            storage.copy_to_disk(url, target)
        # Every file system of fsspec has errors of its own, and a missing one is a ValueError.
        except (OSError, ValueError, ImportError) as error:
            raise InvalidValueError(
                f"model must be a file that can be read. Got {url!r}: {error}. "
                "Hint: a directory on remote storage has to be copied to this machine."
            ) from error
        return target
    if not path.exists():
        raise InvalidValueError(
            f"model must be an existing file or one of {', '.join(ARCHITECTURES)}. Got {url!r}. "
            f"Hint: other names are {', '.join(f'{library}NAME' for library in _LIBRARIES)}."
        )
    return path


def _named(name: str, weights: str | Path, seed: int) -> LoadedModel:
    design = architecture(name)
    if str(weights) not in ("auto", "published", "random"):
        path = Path(weights)
        require(path.is_file(), "weights", "'auto', 'published', 'random' or a file", str(weights))
        return _with_tensors(design, path, str(path), "file", seed)
    note = ""
    if weights != "random":
        try:
            if design.published is None:
                raise MissingDependencyError(
                    f"Nobody publishes weights for {name}. Hint: weights= a file, or 'random'."
                )
            path, source = design.published.locate(), str(design.published)
        except MissingDependencyError as error:
            if weights == "published":
                raise
            _logger.warning("%s starts from random weights. %s", name, error)
            note = str(error)
        else:
            return _with_tensors(design, path, source, "published", seed)
    with global_generator_kept(seed):
        network = design.build()
    return LoadedModel(
        network=network.eval(),
        recipe=LibraryRecipe(design.name),
        report=WeightsReport(source="", kind="random", note=note),
        pixels=_sees(design),
    )


def _with_tensors(
    design: Architecture, path: Path, source: str, kind: str, seed: int
) -> LoadedModel:
    """The network with every tensor of the file that fits; a head that does not is random."""
    with global_generator_kept(seed):
        network = design.build()
    head = [f"{design.head}.weight", f"{design.head}.bias"]
    if kind == "published":
        head = []  # its own head is what it was published with
    report = load_backbone(
        network,
        path,
        head_names=[name for name in head if name in network.state_dict()],
        source=source,
        kind="published" if kind == "published" else "file",
    )
    lacking = [name for name in report.missing if not name.endswith("num_batches_tracked")]
    if lacking or report.mismatched:
        _logger.warning(
            "random start of %s: missing=%s mismatched=%s source=%s",
            design.head,
            ", ".join(lacking),
            ", ".join(report.mismatched),
            source,
        )
    return LoadedModel(
        network=network.eval(),
        recipe=LibraryRecipe(design.name),
        report=report,
        pixels=_sees(design),
    )


def _sees(design: Architecture) -> PixelContract:
    size = design.image_size_px
    return PixelContract(mean=design.mean, std=design.std, size_px=(size, size))


def _tensors(path: Path, options: _Options) -> LoadedModel:
    if options.architecture is None:
        raise InvalidValueError(
            f"a file of tensors must come with architecture=. Got {str(path)!r} alone. Hint: it "
            'holds numbers, not the network they belong to: architecture="resnet50".'
        )
    return _with_tensors(architecture(options.architecture), path, str(path), "file", options.seed)


def _exported(path: Path, options: _Options) -> LoadedModel:
    from hilum.models.roads.exported import load_exported

    return load_exported(path, outputs=options.outputs)


def _torchscript(path: Path, options: _Options) -> LoadedModel:
    from hilum.models.roads.torchscript import load_torchscript

    return load_torchscript(path, trust=options.trust)


def _onnx(path: Path, options: _Options) -> LoadedModel:
    from hilum.models.roads.onnx import load_onnx

    return load_onnx(path, outputs=options.outputs)


def _keras(path: Path, options: _Options) -> LoadedModel:
    from hilum.models.roads.keras import load_keras

    return load_keras(path, definition=options.definition, outputs=options.outputs)


def _savedmodel(path: Path, options: _Options) -> LoadedModel:
    from hilum.models.roads.savedmodel import load_savedmodel

    return load_savedmodel(path, trust=options.trust)


def _tensorflow(path: Path, options: _Options) -> LoadedModel:
    from hilum.models.roads.tensorflow import load_frozen_graph

    given, wanted = options.inputs, options.outputs
    require(given is not None, "inputs", "names of the nodes that images go into", given)
    require(wanted is not None, "outputs", "names of the nodes that are wanted", wanted)
    assert given is not None
    assert wanted is not None
    return load_frozen_graph(path, given, wanted)


def _caffe(path: Path, options: _Options) -> LoadedModel:
    from hilum.models.roads.caffe import load_caffe

    if options.definition is None:
        raise InvalidValueError(
            "definition must be the .prototxt of a Caffe model. Got None. "
            "Hint: the .caffemodel holds the weights; how layers are joined is in the .prototxt."
        )
    return load_caffe(options.definition, path)


def _bigdl(path: Path, options: _Options) -> LoadedModel:
    from hilum.models.roads.bigdl import load_bigdl

    return load_bigdl(path, options.weights)


def _torch7(path: Path, options: _Options) -> LoadedModel:
    raise InvalidValueError(
        f"model must be in a format that is still read. Got Torch7: {str(path)!r}. Hint: no reader "
        "of .t7 files is maintained and PyTorch dropped its own; with PyTorch 0.4, "
        "torch.utils.serialization.load_lua reads it: save its tensors there with torch.save, and "
        "give architecture=."
    )


_ROADS: Mapping[str, Callable[[Path, _Options], LoadedModel]] = MappingProxyType(
    {
        "tensors": _tensors,
        "torch.export": _exported,
        "torchscript": _torchscript,
        "onnx": _onnx,
        "keras": _keras,
        "hdf5": _keras,
        "savedmodel": _savedmodel,
        "tensorflow": _tensorflow,
        "caffe": _caffe,
        "bigdl": _bigdl,
        TORCH7: _torch7,
    }
)
assert set(_ROADS) == {*FORMATS, TORCH7}
