"""Zip archives from strangers: read member by member, never extracted, sizes checked first.

Keras and PyTorch keep models in zip files. A member's claimed size is compared with the bytes it
has in the archive before anything is inflated, so a few kilobytes cannot become gigabytes.
"""

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hilum.errors import InvalidValueError, require

__all__ = ["Archive", "opened"]

MAX_MEMBERS = 100_000
MAX_RATIO = 4  # real weights shrink by a tenth
_SPARE_BYTES = 64 << 20


class Archive:
    """The members of a zip file.

    Args:
        file: opened by `opened`.
        what: for errors: "a Keras model".
        file_bytes: size of the archive.

    Raises:
        InvalidValueError: names that lead out of an archive, more bytes than the file can hold.
    """

    def __init__(self, file: zipfile.ZipFile, what: str, file_bytes: int) -> None:
        self._file, self._what = file, what
        entries = file.infolist()
        require(len(entries) <= MAX_MEMBERS, what, f"of at most {MAX_MEMBERS} members", "more")
        packed = sum(entry.compress_size for entry in entries)
        require(
            packed <= file_bytes,
            what,
            f"an archive whose members fit into its {file_bytes:,} bytes",
            f"{packed:,}",
            hint="members overlap: a zip bomb",
        )
        for entry in entries:
            parts = entry.filename.replace("\\", "/").split("/")
            require(
                ".." not in parts and not entry.filename.startswith(("/", "\\")),
                f"names in {what}",
                "relative and without ..",
                entry.filename,
            )
            require(
                entry.file_size <= MAX_RATIO * entry.compress_size + _SPARE_BYTES,
                what,
                f"an archive that does not grow more than {MAX_RATIO} times",
                f"{entry.filename}: {entry.compress_size:,} bytes become {entry.file_size:,}",
                hint="a zip bomb",
            )
        self._entries = {entry.filename: entry for entry in entries}

    @property
    def names(self) -> tuple[str, ...]:
        """Members, in the order of the archive."""
        return tuple(self._entries)

    def read(self, name: str, limit: int | None = None) -> bytes:
        """The bytes of a member.

        Args:
            name: of the member.
            limit: bytes it may have at most; None for what `opened` lets through.

        Raises:
            InvalidValueError: no such member, too large, or damaged.
        """
        entry = self._entries.get(name)
        if entry is None:
            raise InvalidValueError(
                f"{self._what} must hold {name!r}. Got {', '.join(self.names[:10]) or 'nothing'}."
            )
        if limit is not None:
            too_large = f"{name!r} in {self._what}"
            require(
                entry.file_size <= limit, too_large, f"at most {limit:,} bytes", entry.file_size
            )
        try:
            with self._file.open(entry) as member:
                data = member.read(entry.file_size + 1)
        # What zipfile raises for damage, encryption and unknown methods has no common base.
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError) as error:
            raise _damaged(self._what, error) from error
        if len(data) != entry.file_size:
            raise _damaged(self._what, f"{name}: {len(data)} of {entry.file_size} bytes")
        return data


@contextmanager
def opened(path: Path, what: str) -> Iterator[Archive]:
    """Open a zip file for reading.

    Args:
        path: of the file.
        what: for errors: "a Keras model".

    Raises:
        InvalidValueError: no zip file, a damaged one, or a bomb.
    """
    require(path.is_file(), what, "an existing file", str(path))
    try:
        file = zipfile.ZipFile(path)
    # zipfile meets damaged directories with whatever its arithmetic runs into.
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, RuntimeError) as error:
        raise _damaged(what, error) from error
    with file:
        yield Archive(file, what, path.stat().st_size)


def _damaged(what: str, found: object) -> InvalidValueError:
    return InvalidValueError(
        f"{what} must be a whole zip file. Got {found}. Hint: it is truncated or damaged."
    )
