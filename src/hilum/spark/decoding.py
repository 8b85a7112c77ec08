"""The decoder's work inside a Python worker: Arrow batches of files in, decoded rows out."""

from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hilum import storage
from hilum.decoding import decode, read_local_file, read_remote_file
from hilum.errors import RejectedImageError
from hilum.radiograph import Radiograph
from hilum.spark.image_struct import CV_8UC1, IMAGE_DDL, IMAGE_FIELDS
from hilum.spark.worker_process import spare_the_collector

__all__ = ["DECODED_DDL", "HEADER_FIELDS", "DecodeBatches"]

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
PIECE_BYTES = 16_000_000  # of pixels in one array that leaves the decoder
_DECODED = pa.struct([("image", pa.struct(IMAGE_FIELDS)), *HEADER_FIELDS])
DECODED_DDL = (
    f"struct<image:{IMAGE_DDL},"
    "status:string,reason:string,detail:string,source_format:string,source_bits:int,"
    "modality:string,view:string,patient_id:string,age_years:double,sex:string,"
    "sop_instance_uid:string,warnings:array<string>>"
)


@dataclass(frozen=True, slots=True)
class DecodeBatches:
    """The UDF's work: file contents in, structs of `_DECODED` out."""

    size: tuple[int, int] | None
    max_pixels: int
    fail: bool

    def __call__(self, batches: Iterator[tuple[pa.Array, pa.Array]]) -> Iterator[pa.Array]:
        """Decode (contents, paths); a null content is read from its path by this process.

        Rows come out in order, cut otherwise than they came in: a batch of 256 paths may be
        gigabytes of pixels.
        """
        for contents, paths in batches:
            pairs = list(zip(contents, paths.to_pylist(), strict=True))
            absent = (path for content, path in pairs if not content.is_valid)
            remote = storage.read_ahead(
                (path for path in absent if storage.local_path(path) is None), read_remote_file
            )
            rows, held_bytes = [], 0
            for content, path in pairs:
                rows.append(row := self._row(content, path, remote))
                held_bytes += len(row["image"]["data"]) if "image" in row else 0
                if held_bytes >= PIECE_BYTES:
                    yield pa.array(rows, type=_DECODED)
                    rows, held_bytes = [], 0
            spare_the_collector()
            if rows:
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
