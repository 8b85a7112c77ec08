"""The running Python as one archive, for executors that have none: what `hilum pack` writes.

A virtual environment alone does not travel: its interpreter is a link to one that the other machine
lacks. So the archive holds the interpreter, its standard library and shared library, Hilum, and the
packages that Hilum requires. PySpark is left out; Spark brings its own to its Python workers.

    bin/python      a script that finds the rest wherever the archive is unpacked
    bin/pythonX.Y   the interpreter
    lib/            libpython (where it is a shared library), the standard library, packages
"""

import io
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import cache_from_source
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from hilum.errors import InvalidValueError, require

__all__ = ["Packed", "pack"]

COMPRESSION = 1  # of 9: most of it are shared libraries, and the archive is made for one network
_WORKING_EXTRAS = ("spark", "timm", "tensorboard", "hdfs", "s3")
_BROUGHT_BY_SPARK = {"pyspark", "py4j"}
# Of the standard library; what a worker never imports.
_UNUSED = ("test", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "site-packages")
_UNUSED_NAMES = ("config-*", "dist-packages", "__pycache__")
_LAUNCHER = """#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
LD_LIBRARY_PATH="$here/../lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" exec "$here/%s" "$@"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """What was written: packages by name and version, files and bytes before compression."""

    packages: tuple[str, ...]
    num_files: int
    num_bytes: int


@dataclass(frozen=True, slots=True)
class _Entry:
    """A file and the name that it gets in the archive."""

    path: Path
    name: str


def pack(out: Path, also: Iterable[str] = (), *, hilum_only: bool = False) -> Packed:
    """Write an archive of this Python for executors.

    Args:
        out: a .tar.gz gets interpreter, Hilum and packages; a .zip Hilum's code alone, for
            executors whose Python has the packages. It must not exist.
        also: names of further installed packages, with what they require.
        hilum_only: a .tar.gz without the packages: interpreter and Hilum.

    Raises:
        InvalidValueError: another kind of file, one that exists, a package that is not installed or
            only linked ("editable"), or a Python that cannot be packed this way.
    """
    kinds = (".tar.gz", ".tgz", ".zip")
    require(out.name.endswith(kinds), "out", f"a file of {', '.join(kinds)}", str(out))
    require(not out.exists(), "out", "a file that does not exist", str(out), hint="delete it")
    beside = out.with_name(f".{out.name}.part")
    try:
        if out.suffix == ".zip":
            packed = _write_zip(beside)
        else:
            names = () if hilum_only else _closure(["hilum", *also])
            packed = _write_tar(beside, names)
        beside.replace(out)
    finally:
        beside.unlink(missing_ok=True)
    return packed


def _write_zip(out: Path) -> Packed:
    entries = list(_hilum())
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry in entries:
            archive.write(entry.path, entry.name)
    return _told(["hilum"], entries)


def _write_tar(out: Path, names: Iterable[str]) -> Packed:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = f"lib/{version}/site-packages"
    entries = [*_interpreter(version)]
    entries += [_Entry(entry.path, f"{packages}/{entry.name}") for entry in _hilum()]
    for name in names:
        files = _files_of(distribution(name))
        entries += [_Entry(entry.path, f"{packages}/{entry.name}") for entry in files]
    with tarfile.open(out, "w:gz", compresslevel=COMPRESSION, dereference=True) as archive:
        launcher = (_LAUNCHER % version).encode()
        for name in ("bin/python", "bin/python3"):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(launcher), 0o755
            archive.addfile(info, io.BytesIO(launcher))
        for entry in entries:
            archive.add(entry.path, entry.name, recursive=False, filter=_nobodys)
    return _told(["hilum", *names], entries)


def _told(names: Iterable[str], entries: list[_Entry]) -> Packed:
    versions = tuple(f"{name} {distribution(name).version}" for name in names)
    size = sum(entry.path.stat().st_size for entry in entries)
    return Packed(packages=versions, num_files=len(entries), num_bytes=size)


def _nobodys(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    return info


def _interpreter(version: str) -> Iterator[_Entry]:
    base = Path(sys.base_prefix)
    if (base / "conda-meta").is_dir():
        raise InvalidValueError(
            f"the interpreter must not be conda's, whose libraries lie elsewhere. Got {base}. "
            "Hint: `conda-pack` packs it; --environment takes its archive as well."
        )
    yield _Entry(Path(sys.executable).resolve(), f"bin/{version}")
    shared = sysconfig.get_config_var("INSTSONAME")
    folder = sysconfig.get_config_var("LIBDIR")
    if sysconfig.get_config_var("Py_ENABLE_SHARED") and shared and folder:
        yield _Entry(Path(folder) / shared, f"lib/{shared}")
    root = Path(sysconfig.get_path("stdlib"))
    for path in _walk(root):
        yield _Entry(path, f"lib/{version}/{path.relative_to(root).as_posix()}")


def _walk(root: Path) -> Iterator[Path]:
    for path in sorted(root.iterdir()):
        if path.name in _UNUSED or any(fnmatch(path.name, form) for form in _UNUSED_NAMES):
            continue
        if path.is_dir():
            yield from _below(path)
        elif path.suffix not in (".a", ".pyc"):
            yield path


def _below(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not {"test", "tests"} & set(path.parts[len(folder.parts) :]):
            yield path


def _hilum() -> Iterator[_Entry]:
    """This very code, wherever it lies, and what tells its version."""
    root = Path(__file__).parent
    for path in sorted(root.rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            yield _Entry(path, f"hilum/{path.relative_to(root).as_posix()}")
    found = distribution("hilum")
    for file in found.files or ():
        if file.name in ("METADATA", "WHEEL", "entry_points.txt"):
            yield _Entry(Path(str(file.locate())), file.as_posix())


def _closure(wanted: Iterable[str]) -> list[str]:
    """Names of packages and of all they require, without Hilum itself and what Spark brings."""
    extras = {"hilum": _WORKING_EXTRAS}
    found: dict[str, None] = {}
    waiting = [canonicalize_name(name) for name in wanted]
    asked = set(waiting)
    while waiting:
        name = waiting.pop()
        if name in found or name in _BROUGHT_BY_SPARK:
            continue
        try:
            package = distribution(name)
        except PackageNotFoundError:
            # Of an extra that is not installed; what was asked for by name must be there.
            require(name not in asked, "package", "installed here", name)
            continue
        found[name] = None
        for text in package.requires or ():
            needed = Requirement(text)
            if _applies(needed, extras.get(name, ())):
                waiting.append(canonicalize_name(needed.name))
    return sorted(set(found) - {"hilum"})


def _applies(needed: Requirement, extras: Iterable[str]) -> bool:
    marker = needed.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))


def _files_of(package: Distribution) -> Iterator[_Entry]:
    """Files of an installed package below site-packages, compiled ones too where they are."""
    name = package.metadata["Name"]
    direct = package.read_text("direct_url.json") or ""
    if package.files is None or '"editable":true' in direct.replace(" ", ""):
        raise InvalidValueError(
            f"package {name!r} must be installed whole. Got one that is only linked, or whose "
            "files pip does not know. Hint: `pip install .` in its folder, without `-e`."
        )
    for file in package.files:
        path = Path(str(file.locate()))
        if file.parts[0] in ("..", "bin") or "__pycache__" in file.parts or not path.is_file():
            continue
        yield _Entry(path, file.as_posix())
        compiled = Path(cache_from_source(str(path))) if path.suffix == ".py" else path
        if compiled != path and compiled.is_file():
            folder = file.parent.as_posix()
            yield _Entry(compiled, f"{folder}/__pycache__/{compiled.name}".removeprefix("./"))
