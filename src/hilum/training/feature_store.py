"""Features of a frozen prefix on a host's disk: one file, mapped by all ranks of the host.

The file loses its name as soon as every rank has it open, so nothing is left of it however the
run ends; until then the kernel keeps it. Its room is reserved when it is made, so a full disk is
found before training and not by a signal in the middle.
"""

import json
import logging
import mmap
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hilum.training.world import World, all_reduce_sum, gather_rows

__all__ = ["FeatureStore", "NoRoomError", "open_feature_store"]

logger = logging.getLogger(__name__)

MAX_SHARE_OF_FREE_DISK = 0.8  # the rest is for Spark's shuffle files, checkpoints, everybody else
DIRECTORY_VARIABLE = "HILUM_LOCAL_DIR"
_IMAGE_LIKE = 4  # dimensions of (N, C, H, W), kept in the order of channels last
_NOTE_BYTES = 4096  # a path, or why there is none


class NoRoomError(Exception):
    """Features cannot be kept on every host; the message says where and why."""


class FeatureStore:
    """Rows of equal size, written once and read in any order; every rank of a host sees all.

    Rows are (N, ...) of one shape and dtype, given when it was opened; every bit is kept. Features
    (N, C, H, W) come back in channels-last order, in which convolutions are fastest.
    """

    def __init__(self, memory: mmap.mmap, num_rows: int, row: Tensor) -> None:
        self._shape, self._dtype = tuple(row.shape), row.dtype
        self._row_bytes = row.numel() * row.element_size()
        self._bytes: npt.NDArray[np.uint8] = np.frombuffer(memory, dtype=np.uint8)[
            : num_rows * self._row_bytes
        ].reshape(num_rows, self._row_bytes)

    @property
    def num_bytes(self) -> int:
        """Size on disk."""
        return self._bytes.size

    def write(self, rows: npt.NDArray[np.int64], features: Tensor) -> None:
        """Keep features (N, ...) as these rows."""
        self.write_packed(rows, self.pack(features))

    def takes(self, features: Tensor, num_rows: int) -> bool:
        """Whether features are as many rows of the shape and dtype that is kept."""
        return features.shape == (num_rows, *self._shape) and features.dtype == self._dtype

    def blank(self, num_rows: int) -> Tensor:
        """Rows of zeros."""
        return torch.zeros((num_rows, *self._shape), dtype=self._dtype)

    def pack(self, features: Tensor) -> Tensor:
        """Return the bytes of features, uint8 (N, bytes) in host memory, as they are kept."""
        own = features.detach().cpu()
        if own.ndim == _IMAGE_LIKE:
            own = own.permute(0, 2, 3, 1)
        return own.contiguous().view(len(own), -1).view(torch.uint8)

    def write_packed(self, rows: npt.NDArray[np.int64], packed: Tensor) -> None:
        """Keep what `pack` returned."""
        self._bytes[rows] = packed.numpy()

    def read(self, rows: npt.NDArray[np.int64]) -> Tensor:
        """Copy rows (N, ...) into memory."""
        flat = torch.from_numpy(self._bytes[rows]).view(self._dtype)
        if len(self._shape) != _IMAGE_LIKE - 1:
            return flat.view(len(rows), *self._shape)
        channels, height, width = self._shape
        return flat.view(len(rows), height, width, channels).permute(0, 3, 1, 2)


def open_feature_store(
    world: World, num_rows: int, row: Tensor, directory: str | None = None
) -> FeatureStore:
    """Make a store on every host; all ranks call it together.

    Args:
        row: a tensor of the shape and dtype of one row.
        directory: by default what the environment variable HILUM_LOCAL_DIR names, else the
            temporary directory.

    Raises:
        NoRoomError: on all ranks, if any host has no room or ranks of a host do not share a disk.
    """
    num_bytes = max(1, num_rows * row.numel() * row.element_size())
    path, problem = None, ""
    if world.local_rank == 0:
        path, problem = _make_file(num_bytes, directory)
    try:
        notes = _gather_notes(world, "" if path is None else str(path), problem)
        problems = sorted({text for _, _, _, text in notes if text})
        memory = None if problems else _map(_path_of_host(world, notes), num_bytes)
        missing = all_reduce_sum(torch.tensor(float(memory is None)), world)
        if memory is None or int(missing):
            problem = "; ".join(problems) or "ranks of one host do not see the same local disk"
            raise NoRoomError(problem)
    finally:
        if path is not None:
            path.unlink(missing_ok=True)
    logger.info("rank=%d features=%d bytes=%d", world.rank, num_rows, num_bytes)
    return FeatureStore(memory, num_rows, row)


def _make_file(num_bytes: int, directory: str | None) -> tuple[Path | None, str]:
    """Reserve room; returns the file, or None and why there is none."""
    place = directory or os.environ.get(DIRECTORY_VARIABLE) or tempfile.gettempdir()
    path = None
    try:
        free_bytes = shutil.disk_usage(place).free
        if num_bytes > MAX_SHARE_OF_FREE_DISK * free_bytes:
            return None, (
                f"the features take {num_bytes / 2**30:.2f} GiB, and of the "
                f"{free_bytes / 2**30:.2f} GiB free in {place} at most "
                f"{MAX_SHARE_OF_FREE_DISK:.0%} may be taken"
            )
        descriptor, name = tempfile.mkstemp(prefix="hilum-features-", dir=place)
        path = Path(name)
        try:
            os.posix_fallocate(descriptor, 0, num_bytes)
        finally:
            os.close(descriptor)
    except OSError as error:
        if path is not None:
            path.unlink(missing_ok=True)
        return None, f"no file for features in {place}: {error}"
    return path, ""


def _map(path: str, num_bytes: int) -> mmap.mmap | None:
    try:
        with Path(path).open("r+b") as file:
            return mmap.mmap(file.fileno(), num_bytes)
    except OSError:
        return None


def _path_of_host(world: World, notes: list[tuple[str, int, str, str]]) -> str:
    return next((p for host, local, p, _ in notes if (host, local) == (world.host, 0)), "")


def _gather_notes(world: World, path: str, problem: str) -> list[tuple[str, int, str, str]]:
    """(host, local rank, path, problem) of every rank, as JSON in rows of one length."""
    text = json.dumps([world.host, world.local_rank, path, problem[: _NOTE_BYTES // 8]])
    data = text.encode("ascii")[:_NOTE_BYTES]
    row = torch.zeros((1, _NOTE_BYTES), dtype=torch.uint8)
    row[0, : len(data)] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    rows = gather_rows(row, [1] * world.num_ranks, world)
    return [tuple(json.loads(bytes(line.tolist()).rstrip(b"\0"))) for line in rows]
