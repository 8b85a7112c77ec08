"""Files of a folder or glob, on any storage, with what a reader needs to know before it opens them.

What is left out is what Spark leaves out: names that begin with a dot or an underscore, also those
of folders, unless they are given themselves.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from hilum.storage.locating import local_path, locate

__all__ = ["FoundFile", "list_files"]

_MAGIC = "*?[{"
_BRACES = re.compile(r"\{([^{}]*)\}")
_LISTED_TOGETHER = 8  # files of one folder: from here on one listing is cheaper than a look at each


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFile:
    """A file that a listing has found.

    Attributes:
        url: written as the folder or glob was.
        size: bytes.
        modified_s: Unix time of its last change; 0 where the storage keeps none.
    """

    url: str
    size: int
    modified_s: float


def list_files(
    urls: str | Sequence[str], *, recursive: bool = True, glob: str | None = None
) -> list[FoundFile]:
    """Files in folders, that globs match, or given themselves; each once, in the order of names.

    Args:
        urls: one or several. A file whose own name looks like a glob is that file.
        recursive: also in folders below.
        glob: keep only files whose name matches; `{png,jpg}` is one or the other, as for Spark.

    Raises:
        FileNotFoundError: nothing is at one of them.
        OSError: a storage, or a folder of a remote one, that cannot be asked.
    """
    wanted = [urls] if isinstance(urls, str) else list(dict.fromkeys(urls))
    found: dict[str, FoundFile] = {}
    for folder, names in _by_folder(wanted).items():
        there = _listed_together(folder) if len(names) >= _LISTED_TOGETHER else {}
        for name in names:
            url = f"{folder}/{name}" if folder else name
            entries = [there[url]] if url in there else _find(url, recursive)
            found |= {one.url: one for one in entries if _matches(one.url, glob)}
    return [found[url] for url in sorted(found)]


def _by_folder(urls: Iterable[str]) -> dict[str, list[str]]:
    """Last parts of URLs by what is before; local paths and roots stay whole under ""."""
    folders: dict[str, list[str]] = defaultdict(list)
    for url in urls:
        scheme, separator, rest = url.rpartition("://")
        above, _, name = rest.rstrip("/").rpartition("/")
        whole = local_path(url) is not None or not above
        folders["" if whole else f"{scheme}{separator}{above}"].append(url if whole else name)
    return folders


def _listed_together(folder: str) -> dict[str, FoundFile]:
    """The files directly in a remote folder, by URL; none where it is not there."""
    filesystem, path = locate(folder)
    try:
        entries = filesystem.ls(path, detail=True)
    except FileNotFoundError:
        return {}
    url_of = _urls_like(folder, path)
    files = (_file(url_of(one["name"]), one) for one in entries if one["type"] == "file")
    return {one.url: one for one in files}


def _find(url: str, recursive: bool) -> list[FoundFile]:
    filesystem, path = locate(url)
    url_of = _urls_like(url, path)
    there = _there(filesystem, path)
    if not there:
        raise FileNotFoundError(f"there is no file, folder or match of {url}")
    found = []
    for name, entry in there.items():
        if _kind(entry) == "directory":
            found += _below(filesystem, name, url_of, recursive)
        else:
            found.append(_file(url_of(name), entry))
    return found


def _there(filesystem: Any, path: str) -> dict[str, dict[str, Any]]:
    """What has this path, else what matches it; a storage that does not answer is an error."""
    try:
        entries = {path: filesystem.info(path)}
    except (FileNotFoundError, NotADirectoryError):
        entries = {}
        for glob in _alternatives(path) if any(letter in path for letter in _MAGIC) else ():
            entries |= filesystem.glob(glob, detail=True)
    return {name: entry for name, entry in entries.items() if _kind(entry)}


def _alternatives(pattern: str) -> list[str]:
    """`a{b,c}` as the patterns `ab` and `ac`, which fsspec and fnmatch understand."""
    braces = _BRACES.search(pattern)  # the first without others inside
    if braces is None:
        return [pattern]
    before, after = pattern[: braces.start()], pattern[braces.end() :]
    filled = (f"{before}{part}{after}" for part in braces.group(1).split(","))
    return [one for each in filled for one in _alternatives(each)]


def _below(
    filesystem: Any, path: str, url_of: Callable[[str], str], recursive: bool
) -> list[FoundFile]:
    entries = filesystem.find(path, maxdepth=None if recursive else 1, detail=True)
    return [
        _file(url_of(name), entry)
        for name, entry in entries.items()
        if _kind(entry) == "file" and not _is_hidden(name[len(path) :]) and not name.endswith("/")
    ]


def _kind(entry: dict[str, Any]) -> str:
    """file or directory, of a link what it leads to; "" for pipes, sockets and broken links."""
    kind = str(entry.get("type"))
    if entry.get("islink"):  # on this machine alone; a folder's listing says "other" of them
        target = Path(entry["name"])
        kind = "directory" if target.is_dir() else "file" if target.is_file() else ""
    return kind if kind in ("directory", "file") else ""


def _is_hidden(below: str) -> bool:
    return any(part.startswith((".", "_")) for part in below.split("/"))


def _urls_like(url: str, path: str) -> Callable[[str], str]:
    """From a file system's paths to URLs (or relative paths) like the one that became `path`."""
    scheme, separator, rest = url.rpartition("://")
    given, stem = scheme + separator + rest.rstrip("/"), path.rstrip("/")  # roots end in "/"
    if given.endswith(stem):
        return lambda name: given.removesuffix(stem) + name
    if path.endswith(f"/{given}"):
        return lambda name: name.removeprefix(path.removesuffix(given))
    return lambda name: ("file://" if url.startswith("file:") else "") + name


def _file(url: str, entry: dict[str, Any]) -> FoundFile:
    return FoundFile(url=url, size=int(entry.get("size") or 0), modified_s=_modified_s(entry))


def _modified_s(entry: dict[str, Any]) -> float:
    """Each file system has its own name for it."""
    if "modificationTime" in entry:  # WebHDFS, milliseconds
        return float(entry["modificationTime"]) / 1000
    found = next((entry[n] for n in ("LastModified", "mtime", "created") if n in entry), 0.0)
    return found.timestamp() if isinstance(found, datetime) else float(found or 0.0)


def _matches(url: str, glob: str | None) -> bool:
    name = url.rpartition("/")[2]
    return glob is None or any(fnmatch(name, one) for one in _alternatives(glob))
