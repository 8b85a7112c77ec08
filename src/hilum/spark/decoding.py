"""The decoder's work inside a Python worker: Arrow batches of files in, decoded rows out."""

import errno
import os
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hilum import storage
from hilum.decoding import MAGIC_BYTES, decode, sniff
from hilum.errors import RejectedImageError
from hilum.radiograph import Radiograph
from hilum.spark.image_struct import CV_8UC1, IMAGE_DDL, IMAGE_FIELDS
from hilum.spark.worker_process import spare_the_collector

__all__ = ["DECODED_DDL", "HEADER_FIELDS", "DecodeBatches", "read_local_file"]

HEADER_FIELDS: list[tuple[str, pa.DataType]] = [
    ("status", pa.string()),
    ("reason", pa.string()),
    ("detail", pa.string()),
    ("source_format", pa.string()),
    ("source_bits", pa.int32()),
    ("modality", pa.string()),
    ("view", pa.string()),
    ("patient_id", pa.string()),
    ("age_years", pa.float64()),
    ("sex", pa.string()),
    ("sop_instance_uid", pa.string()),
    ("warnings", pa.list_(pa.string())),
]
_DECODED = pa.struct([("image", pa.struct(IMAGE_FIELDS)), *HEADER_FIELDS])
DECODED_DDL = (
    f"struct<image:{IMAGE_DDL},"
    "status:string,reason:string,detail:string,source_format:string,source_bits:int,"
    "modality:string,view:string,patient_id:string,age_years:double,sex:string,"
    "sop_instance_uid:string,warnings:array<string>>"
)


MAX_FILE_BYTES = 2**31 - 1  # what a row of Spark can hold
FIRST_REQUEST_BYTES = 2**20  # a radiograph of 1024 x 1024 in PNG, or nearly
NOT_DELIVERED = (errno.EACCES, errno.EPERM, errno.EIO)


def read_local_file(uri: str) -> bytes:
    """Read a file that Spark listed as "file:/...", without its way through Java.

    Of a file that is no image only the first bytes are read.

    Raises:
        RejectedImageError: unreadable (no permission, a bad sector) or too_large.
        OSError: anything else, such as a mount that is gone: no property of this one file. The
            task fails and Spark retries it.
    """
    try:
        with Path(uri.removeprefix("file:")).open("rb") as file:
            head = file.read(MAGIC_BYTES)
            if sniff(head) is None:
                return head
            size = os.fstat(file.fileno()).st_size
            if size > MAX_FILE_BYTES:
                raise RejectedImageError("too_large", f"{size} bytes")
            file.seek(0)
            return file.read()
    except OSError as error:
        if error.errno in NOT_DELIVERED:
            raise RejectedImageError("unreadable", str(error.strerror)) from error
        raise


def read_remote_file(url: str) -> bytes:
    """Read a file of remote storage, small ones in one request; of no image only its first bytes.

    Raises:
        RejectedImageError: unreadable (no permission) or too_large.
        OSError: anything else; the task fails and Spark retries it.
    """
    try:
        head = storage.read_range(url, 0, FIRST_REQUEST_BYTES)
        if sniff(head[:MAGIC_BYTES]) is None:
            return head[:MAGIC_BYTES]
        if len(head) < FIRST_REQUEST_BYTES:
            return head
        data = head + storage.read_range(url, FIRST_REQUEST_BYTES, MAX_FILE_BYTES)
    except PermissionError as error:
        raise RejectedImageError("unreadable", str(error)) from error
    if len(data) == MAX_FILE_BYTES:
        raise RejectedImageError("too_large", f"{len(data)} bytes or more")
    return data


@dataclass(frozen=True, slots=True)
class DecodeBatches:
    """The UDF's work: file contents in, structs of `_DECODED` out, batch by batch."""

    size: tuple[int, int] | None
    max_pixels: int
    fail: bool

    def __call__(self, batches: Iterator[tuple[pa.Array, pa.Array]]) -> Iterator[pa.Array]:
        """Decode (contents, paths); a null content is read from its path by this process."""
        for contents, paths in batches:
            pairs = list(zip(contents, paths.to_pylist(), strict=True))
            absent = (path for content, path in pairs if not content.is_valid)
            remote = storage.read_ahead(
                (path for path in absent if storage.local_path(path) is None), read_remote_file
            )
            rows = [self._row(content, path, remote) for content, path in pairs]
            spare_the_collector()
            yield pa.array(rows, type=_DECODED)

    def _row(
        self, content: pa.Scalar, path: str, remote: Iterator[Future[bytes]]
    ) -> dict[str, Any]:
        try:
            if content.is_valid:
                data = content.as_py()
            elif storage.local_path(path) is None:
                data = next(remote).result()
            else:
                data = read_local_file(path)
            radiograph = decode(data, max_pixels=self.max_pixels)
            return _ok_row(radiograph, self._resized(radiograph.pixels), path)
        except RejectedImageError as rejection:
            if self.fail:
                raise RejectedImageError(rejection.reason, f"{path}: {rejection.detail}") from None
            return {"status": "rejected", "reason": rejection.reason, "detail": rejection.detail}

    def _resized(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        if self.size is None or pixels.shape == self.size:
            return pixels
        import torch  # late: workers that only decode at full size need no torch

        from hilum.preprocessing import Resize

        resize = Resize(height=self.size[0], width=self.size[1])
        return resize(torch.from_numpy(pixels)[None, None])[0, 0].numpy()


def _ok_row(radiograph: Radiograph, pixels: npt.NDArray[np.uint8], origin: str) -> dict[str, Any]:
    height, width = pixels.shape
    return {
        "image": {
            "origin": origin,
            "height": height,
            "width": width,
            "nChannels": 1,
            "mode": CV_8UC1,
            "data": pixels.tobytes(),
        },
        "status": "ok",
        "source_format": radiograph.source_format,
        "source_bits": radiograph.source_bits,
        "modality": radiograph.modality,
        "view": radiograph.view,
        "patient_id": radiograph.patient_id,
        "age_years": radiograph.age_years,
        "sex": radiograph.sex,
        "sop_instance_uid": radiograph.sop_instance_uid,
        "warnings": list(radiograph.warnings),
    }
