"""Which program wrote a model's file: told by its first bytes and its parts, not by its name.

Files get renamed, and `.pt`, `.model` and `.pb` mean several things each. So the content decides;
the suffix is asked only where two formats begin alike.
"""

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

from hilum.errors import InvalidValueError, require

__all__ = ["FORMATS", "TORCH7", "recognise"]

FORMATS: Mapping[str, str] = MappingProxyType(
    {
        "tensors": "PyTorch tensors: .pth, .pt, .safetensors (with architecture=)",
        "torch.export": "torch.export program: .pt2",
        "torchscript": "TorchScript: .pt (with trust=True)",
        "onnx": "ONNX: .onnx",
        "keras": "Keras: .keras",
        "hdf5": "Keras: .h5, .hdf5",
        "savedmodel": "TensorFlow SavedModel: a directory (with trust=True)",
        "tensorflow": "TensorFlow frozen graph: .pb (with outputs=)",
        "caffe": "Caffe: .caffemodel (with definition= the .prototxt)",
        "bigdl": "BigDL: .bigdl, .model",
    }
)
"""Formats by the name `recognise` gives them, as errors list them."""

TORCH7 = "torch7"
"""A format that is recognised to be refused with a way out."""

_ZIP, _HDF5, _T7_BINARY = b"PK\x03\x04", b"\x89HDF\r\n\x1a\n", b"\x04\0\0\0\x01\0\0\0"
_JAVA = b"\xac\xed\0\x05"
_MAX_FIELDS = 10_000


def recognise(path: Path) -> str:
    """Name the format of a model's file or directory, a key of `FORMATS` or `TORCH7`.

    Raises:
        InvalidValueError: nothing there, or a format Hilum does not read; the message lists those
            it does.
    """
    if path.is_dir():
        if (path / "saved_model.pb").is_file():
            return "savedmodel"
        hint = "a bundle of Hilum is opened with hilum.inference.load_bundle"
        raise _unknown(path, "a directory", hint if (path / "manifest.json").is_file() else "")
    require(path.is_file(), "model", "an existing file", str(path))
    with path.open("rb") as file:
        start = file.read(64)
        found = _by_first_bytes(path, start) or _in_protocol_buffers(file, path)
    if found is None:
        raise _unknown(path, f"a file that begins with {start[:8]!r}")
    return found


def _unknown(path: Path, found: str, hint: str = "") -> InvalidValueError:
    known = "; ".join(FORMATS.values())
    return InvalidValueError(
        f"model must be in a format Hilum reads ({known}). Got {found}: {str(path)!r}."
        + (f" Hint: {hint}" if hint else "")
    )


def _by_first_bytes(path: Path, start: bytes) -> str | None:
    if start.startswith(_ZIP):
        return _in_zip(path)
    if start.startswith(_HDF5):
        return "hdf5"
    if start.startswith(_T7_BINARY) or start.startswith(b"4\n1\n3\nV 1\n"):
        return TORCH7
    if start.startswith(_JAVA):
        hint = "a pickle of Java's: let BigDL save it again with saveModule"
        raise _unknown(path, "an object serialised by Java", hint)
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size:
        return "tensors"  # safetensors: the length of a JSON header, and the header
    if start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "tensors"  # torch.save before PyTorch 1.6; read with weights_only
    if _is_text(start):
        hint = "the .prototxt is definition=; the model is the .caffemodel"
        raise _unknown(path, "text", hint if path.suffix == ".prototxt" else "")
    return None


def _is_text(start: bytes) -> bool:
    return bool(start) and all(32 <= byte < 127 or byte in b"\t\r\n" for byte in start)


def _in_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    # zipfile meets damaged directories with whatever its arithmetic runs into.
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, RuntimeError) as error:
        raise InvalidValueError(
            f"model must be a whole zip file. Got {str(path)!r}: {error}. Hint: copy it again."
        ) from error
    if "config.json" in names:
        return "keras"
    inner = {name.partition("/")[2] for name in names}
    if "archive_format" in inner or "archive_format" in names:
        return "torch.export"
    if "serialized_exported_program.json" in names:
        hint = "torch.export of PyTorch before 2.8 wrote it: save it again with a newer one"
        raise _unknown(path, "an old torch.export program", hint)
    if "data.pkl" in inner:
        return "torchscript" if "constants.pkl" in inner else "tensors"
    raise _unknown(path, f"a zip file of {', '.join(sorted(names)[:5]) or 'nothing'}")


def _in_protocol_buffers(file: BinaryIO, path: Path) -> str | None:
    """Formats of protocol buffers, by the numbers and kinds of their outermost fields."""
    seen: dict[int, tuple[int, bytes]] = {}
    for number, kind, beginning in _fields(file, path.stat().st_size):
        seen.setdefault(number, (kind, beginning))
        if number in (100, 7):
            break
    first = seen.get(1)
    if first is not None and first[0] == 0:
        return "onnx" if 7 in seen and seen[7][0] == 2 else None
    if 7 in seen and seen[7][0] == 2:
        return "bigdl"
    if 100 in seen and seen[100][0] == 2:
        return "caffe"
    if first is not None and _is_node_of_tensorflow(first[1]):
        return "tensorflow"
    if 2 in seen and seen[2][0] == 2:  # old Caffe and BigDL begin alike
        return "bigdl" if path.suffix in (".bigdl", ".model") else "caffe"
    return None


def _is_node_of_tensorflow(beginning: bytes) -> bool:
    """Whether bytes begin as NodeDef does: a name (1) and an operation (2), both texts."""
    if len(beginning) < 4 or beginning[0] != 0x0A:
        return False
    after = 2 + beginning[1]
    return after < len(beginning) and beginning[after] == 0x12 and _is_text(beginning[2:after])


def _fields(file: BinaryIO, size: int) -> Iterator[tuple[int, int, bytes]]:
    """Number, kind and first bytes of the outermost fields, until something makes no sense."""
    position = 0
    for _ in range(_MAX_FIELDS):
        if position >= size:
            return
        file.seek(position)
        head = file.read(20)
        key, used = _varint(head, 0)
        number, kind = key >> 3, key & 7
        length = {1: 8, 5: 4}.get(kind)
        if used == 0 or number == 0 or kind not in (0, 1, 2, 5):
            return
        if kind != 1 and kind != 5:
            value, after = _varint(head, used)
            if after == 0:
                return
            length, used = (value, after) if kind == 2 else (0, after)
        assert length is not None
        if length > size - position - used:
            return
        file.seek(position + used)
        yield number, kind, file.read(min(length, 200)) if kind == 2 else b""
        position += used + length


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """The number and where it ends; (0, 0) where there is none."""
    value = shift = 0
    while position < len(data) and shift < 64:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position
    return 0, 0
