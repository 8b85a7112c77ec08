"""The operations of 2019 that change no pixel: from rows to images to tensors to samples.

Hilum's chains need none of them. They are here because scripts name them, and because a chain of
2019 can be run on one row, which is how it is compared with what it becomes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hilum.errors import require
from hilum.zoo.image_ops import Image

__all__ = [
    "ArrayToTensor",
    "BigDLAdapter",
    "FeatureLabelPreprocessing",
    "FeatureToTupleAdapter",
    "ImageBytesToMat",
    "ImageFeatureToSample",
    "ImageFeatureToTensor",
    "ImageMatToFloats",
    "ImageMatToTensor",
    "ImagePixelBytesToMat",
    "ImageSetToSample",
    "MLlibVectorToTensor",
    "RowToImageFeature",
    "ScalarToTensor",
    "SeqToMultipleTensors",
    "SeqToTensor",
    "TensorToSample",
    "ToTuple",
]

Numbers = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class RowToImageFeature:
    """A Spark image struct to an array (H, W, channel)."""

    def apply(self, row: Any, rng: np.random.Generator | None = None) -> Image:
        """Return the pixels; an array is returned as it is."""
        if isinstance(row, np.ndarray):
            return row
        image: Mapping[str, Any] = row if isinstance(row, Mapping) else row.asDict()
        pixels = np.frombuffer(image["data"], np.uint8)
        return pixels.reshape(image["height"], image["width"], image["nChannels"])


@dataclass(frozen=True, slots=True)
class ImageBytesToMat:
    """The bytes of a PNG, JPEG or DICOM file to an array (H, W, 1) uint8."""

    byte_key: str = "bytes"
    image_codec: int = -1

    def apply(self, data: bytes, rng: np.random.Generator | None = None) -> Image:
        """Return the pixels.

        Raises:
            RejectedImageError: the bytes are no image; with a reason code.
        """
        from hilum.decoding import decode

        return decode(data).pixels[..., None]


@dataclass(frozen=True, slots=True)
class ImagePixelBytesToMat:
    """Pixels to pixels: nothing to do."""

    byte_key: str = "bytes"

    def apply(self, image: Image, rng: np.random.Generator | None = None) -> Image:
        """Return the image."""
        return image


@dataclass(frozen=True, slots=True)
class ImageMatToFloats:
    """Bytes to float32; the sizes are of no use here."""

    valid_height: int = 0
    valid_width: int = 0
    valid_channel: int = 3
    out_key: str = "floats"
    share_buffer: bool = True

    def apply(self, image: Image, rng: np.random.Generator | None = None) -> Image:
        """Return the image as float32."""
        return image.astype(np.float32)


@dataclass(frozen=True, slots=True)
class ImageMatToTensor:
    """(H, W, channel) to planes, blue first unless `to_RGB`; one channel stays one plane."""

    to_RGB: bool = False
    tensor_key: str = "imageTensor"
    share_buffer: bool = True
    format: str = "NCHW"

    def __post_init__(self) -> None:
        require(self.format in ("NCHW", "NHWC"), "format", "NCHW or NHWC", self.format)

    def apply(self, image: Image, rng: np.random.Generator | None = None) -> Numbers:
        """Return float32 (channel, H, W), or (H, W, channel) for NHWC."""
        colour = image[..., ::-1] if self.to_RGB else image
        planes = colour if self.format == "NHWC" else colour.transpose(2, 0, 1)
        return np.ascontiguousarray(planes, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class ImageSetToSample:
    """Tensors to a sample: nothing to do."""

    input_keys: Sequence[str] = ("imageTensor",)
    target_keys: Sequence[str] | None = ("label",)
    sample_key: str = "sample"

    def apply(self, value: Any, rng: np.random.Generator | None = None) -> Any:
        """Return the value."""
        return value


@dataclass(frozen=True, slots=True)
class ImageFeatureToTensor:
    """An image's tensor: nothing to do."""

    def apply(self, value: Any, rng: np.random.Generator | None = None) -> Any:
        """Return the value."""
        return value


@dataclass(frozen=True, slots=True)
class ImageFeatureToSample:
    """An image's sample: nothing to do."""

    def apply(self, value: Any, rng: np.random.Generator | None = None) -> Any:
        """Return the value."""
        return value


@dataclass(frozen=True, slots=True)
class TensorToSample:
    """A tensor as a sample: nothing to do."""

    def apply(self, value: Any, rng: np.random.Generator | None = None) -> Any:
        """Return the value."""
        return value


@dataclass(frozen=True, slots=True)
class ToTuple:
    """A feature with no label."""

    def apply(self, value: Any, rng: np.random.Generator | None = None) -> tuple[Any, None]:
        """Return (value, None)."""
        return value, None


@dataclass(frozen=True, slots=True)
class SeqToTensor:
    """Numbers to an array; `size` is its shape, by default one dimension."""

    size: Sequence[int] = ()

    def apply(self, value: Any, rng: np.random.Generator | None = None) -> Numbers:
        """Return float32 of shape `size`."""
        flat = np.asarray(value, np.float32)
        return flat.reshape(tuple(self.size)) if len(self.size) else flat.reshape(-1)


@dataclass(frozen=True, slots=True)
class SeqToMultipleTensors:
    """Numbers to several arrays, one after another."""

    size: Sequence[Sequence[int]]

    def apply(self, value: Any, rng: np.random.Generator | None = None) -> list[Numbers]:
        """Return one float32 array per shape."""
        flat = np.asarray(value, np.float32).reshape(-1)
        counts = [int(np.prod(shape)) for shape in self.size]
        require(sum(counts) == flat.size, "size", f"{flat.size} numbers in all", counts)
        parts = np.split(flat, np.cumsum(counts)[:-1])
        return [part.reshape(tuple(s)) for part, s in zip(parts, self.size, strict=True)]


@dataclass(frozen=True, slots=True)
class ArrayToTensor:
    """`SeqToTensor` of an array."""

    size: Sequence[int]

    def apply(self, value: Any, rng: np.random.Generator | None = None) -> Numbers:
        """Return float32 of shape `size`."""
        return SeqToTensor(self.size).apply(value)


@dataclass(frozen=True, slots=True)
class MLlibVectorToTensor:
    """`SeqToTensor` of a vector of Spark ML."""

    size: Sequence[int]

    def apply(self, value: Any, rng: np.random.Generator | None = None) -> Numbers:
        """Return float32 of shape `size`."""
        numbers = value.toArray() if hasattr(value, "toArray") else value
        return SeqToTensor(self.size).apply(numbers)


@dataclass(frozen=True, slots=True)
class ScalarToTensor:
    """A number to an array of one."""

    def apply(self, value: float, rng: np.random.Generator | None = None) -> Numbers:
        """Return float32 (1,)."""
        return np.array([value], np.float32)


@dataclass(frozen=True, slots=True)
class FeatureLabelPreprocessing:
    """One operation for the feature, one for the label."""

    feature_transformer: Any
    label_transformer: Any


@dataclass(frozen=True, slots=True)
class FeatureToTupleAdapter:
    """`FeatureLabelPreprocessing` for features alone."""

    sample_transformer: Any


@dataclass(frozen=True, slots=True)
class BigDLAdapter:
    """An operation of BigDL as one of Analytics Zoo: nothing to do."""

    bigdl_transformer: Any

    def apply(self, value: Any, rng: np.random.Generator) -> Any:
        """Apply the operation it wraps."""
        return self.bigdl_transformer.apply(value, rng)
