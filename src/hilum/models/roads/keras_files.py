"""What Keras keeps in its files: a configuration in JSON, and variables in HDF5.

Three forms: `.keras` (a zip of config.json and model.weights.h5; Keras 3, and TensorFlow's from
2.12 on), `.h5` (one HDF5 file, configuration as an attribute; Keras 1 to 3), `.weights.h5`
(variables alone). h5py reads them; links and storage that lead out of the file are refused.
"""

import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from hilum.errors import HilumError, InvalidValueError, MissingDependencyError, require
from hilum.models.roads.archives import opened
from hilum.models.roads.assembly import Array

__all__ = ["KerasFile", "Variables", "Where", "keras_file"]

MAX_TEXT_BYTES = 64 << 20
MAX_RATIO = 2
_SPARE_BYTES = 64 << 20
_VARIABLES = "model.weights.h5"


@dataclass(frozen=True, slots=True)
class Where:
    """A layer's place: the group in the archive's form, the names of models and layer in the old.

    Attributes:
        group: "layers/sequential/layers/conv2d", by kinds and counts.
        names: ("base", "conv1").
    """

    group: str
    names: tuple[str, ...]


class Variables(Protocol):
    """The variables of a file."""

    def read(self, where: Where, wanted: Sequence[str]) -> list[Array]:
        """Those of a layer, in the order of `wanted`, its own names for them; float."""
        ...


@dataclass(frozen=True, slots=True)
class KerasFile:
    """A configuration and its variables.

    Attributes:
        config: of the model: "class_name", "config".
        variables: of its layers.
        major: version of Keras that wrote it, 0 if unknown.
        bytes_at_hand: size of what holds the variables.
    """

    config: dict[str, Any]
    variables: Variables
    major: int
    bytes_at_hand: int


@contextmanager
def keras_file(path: Path, definition: Path | None) -> Iterator[KerasFile]:
    """Open a file of any of the three forms.

    Args:
        path: of the file.
        definition: JSON of `model.to_json()`, for variables alone.

    Raises:
        InvalidValueError: a damaged file, or variables alone without a definition.
        MissingDependencyError: h5py is not installed.
    """
    with path.open("rb") as file:
        zipped = file.read(2) == b"PK"
    if zipped:
        with opened(path, "a Keras model") as archive:
            config = _json(archive.read("config.json", MAX_TEXT_BYTES))
            version = b"{}"
            if "metadata.json" in archive.names:
                version = archive.read("metadata.json", MAX_TEXT_BYTES)
            data = archive.read(_VARIABLES)
        major = _major(_json(version).get("keras_version"))
        with _hdf5(io.BytesIO(data)) as file:
            yield KerasFile(config, _Grouped(file), major, len(data))
        return
    with _hdf5(path) as file:
        text = file.attrs.get("model_config")
        if text is None and definition is None:
            raise InvalidValueError(
                f"a file of Keras must hold the configuration of its model. Got {str(path)!r}, "
                "variables alone. Hint: definition= a file with the text of model.to_json()."
            )
        if text is None:
            assert definition is not None
            require(definition.is_file(), "definition", "an existing file", str(definition))
            text = definition.read_bytes()[: MAX_TEXT_BYTES + 1]
        raw = text if isinstance(text, bytes) else str(text).encode()
        require(len(raw) <= MAX_TEXT_BYTES, "configuration", f"{MAX_TEXT_BYTES} bytes", len(raw))
        old = file.get("model_weights", file if "layer_names" in file.attrs else None)
        variables: Variables = _Grouped(file) if old is None else _Named(_checked(old))
        major = _major(file.attrs.get("keras_version", 3 if old is None else 0))
        yield KerasFile(_json(raw), variables, major, path.stat().st_size)


def _json(text: bytes) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidValueError(
            f"configuration of a Keras model must be JSON. Got {error}. Hint: the file is damaged."
        ) from error
    require(isinstance(data, dict), "configuration of a Keras model", "an object", type(data))
    return dict(data)


def _major(version: object) -> int:
    text = version.decode(errors="replace") if isinstance(version, bytes) else str(version)
    first = text.partition(".")[0]
    return int(first) if first.isdecimal() and len(first) < 4 else 0


@contextmanager
def _hdf5(source: Path | io.BytesIO) -> Iterator[Any]:
    try:
        import h5py
    except ImportError as error:
        raise MissingDependencyError(
            "Files of Keras are read with h5py, which is not installed. "
            "Hint: pip install hilum[formats]"
        ) from error
    try:
        with h5py.File(source, "r") as file:
            yield file
    except HilumError:
        raise
    # What the HDF5 library finds in a damaged file has no common base.
    except (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise InvalidValueError(
            f"a file of Keras must be whole HDF5. Got {error}. Hint: it is truncated or damaged."
        ) from error


def _checked(item: Any) -> Any:
    """An object of the file that lies in the file, and is no larger than its bytes allow."""
    import h5py

    if isinstance(item, h5py.Dataset):
        inside = item.external is None and not item.is_virtual
        require(inside, f"variable {item.name!r}", "stored in the file itself", "elsewhere")
        size, whole = item.size * item.dtype.itemsize, item.file.id.get_filesize()
        require(
            size <= MAX_RATIO * whole + _SPARE_BYTES,
            f"variable {item.name!r}",
            f"no larger than its file of {whole:,} bytes allows",
            f"{size:,} bytes",
        )
    return item


def _member(group: Any, path: str) -> Any:
    """What a path leads to, by way of hard links only; None if nothing."""
    import h5py

    for part in path.split("/"):
        if not isinstance(group, h5py.Group) or part not in group:
            return None
        link = group.get(part, getlink=True)
        require(isinstance(link, h5py.HardLink), f"member {part!r}", "in the file itself", "a link")
        group = group[part]
    return _checked(group)


def _numbers(item: Any, what: str) -> Array:
    import h5py

    require(isinstance(item, h5py.Dataset), what, "a table of numbers", type(item).__name__)
    kind = np.dtype(item.dtype)
    floats = kind.kind == "f" or kind.kind in "iu"
    require(floats, what, "of numbers", str(kind))
    return np.asarray(item[()])


class _Grouped:
    """Variables by group and position: layers/dense/vars/0."""

    def __init__(self, file: Any) -> None:
        self._file = file
        # TensorFlow's Keras called it otherwise.
        self._root = "layers" if "layers" in file else "_layer_checkpoint_dependencies"

    def read(self, where: Where, wanted: Sequence[str]) -> list[Array]:
        group = where.group.replace("layers/", f"{self._root}/")
        found = []
        for number, name in enumerate(wanted):
            what = f"{name} of layer {'/'.join(where.names)!r}"
            item = _member(self._file, f"{group}/vars/{number}")
            require(item is not None, what, f"in the file as {group}/vars/{number}", None)
            found.append(_numbers(item, what))
        return found


class _Named:
    """Variables by name, as HDF5 files of whole models have them: conv1/conv1/kernel:0."""

    def __init__(self, group: Any) -> None:
        self._group = group

    def read(self, where: Where, wanted: Sequence[str]) -> list[Array]:
        outer = _member(self._group, where.names[0])
        layer = "/".join(where.names)
        require(outer is not None, f"variables of layer {layer!r}", "in the file", None)
        paths = _texts(outer, "weight_names")
        if len(where.names) == 1:
            require(len(paths) >= len(wanted), f"variables of {layer!r}", str(wanted), paths)
            chosen = paths[: len(wanted)]
        else:
            chosen = [_ending(paths, where.names[-1], name, layer) for name in wanted]
        return [_numbers(_member(outer, path), f"variable {path!r}") for path in chosen]


def _ending(paths: Sequence[str], layer: str, name: str, whole: str) -> str:
    """The variable of a layer within a nested model; models in between may or may not be named."""
    for path in paths:
        parts = path.removesuffix(":0").split("/")
        if parts[-2:] == [layer, name] or (len(parts) == 1 and parts[0] == name):
            return path
    raise InvalidValueError(
        f"{name} of layer {whole!r} must be in the file. Got {', '.join(paths[:6])}."
    )


def _texts(group: Any, name: str) -> list[str]:
    """A list of texts in attributes, in pieces where HDF5 had no room for it in one."""
    if name in group.attrs:
        pieces = [group.attrs[name]]
    else:
        pieces, number = [], 0
        while f"{name}{number}" in group.attrs:
            pieces.append(group.attrs[f"{name}{number}"])
            number += 1
    return [
        item.decode(errors="replace") if isinstance(item, bytes) else str(item)
        for piece in pieces
        for item in np.asarray(piece).ravel().tolist()
    ]
