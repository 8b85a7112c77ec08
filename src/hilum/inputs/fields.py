"""How one column of a row becomes one tensor: images, numbers, texts.

An input is read from an Arrow column (`read`), stored at a fixed size in a record, and made into
what the network takes (`tensor`), on the device, once per use. All are values that can be stored.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from hilum.errors import InvalidValueError, RejectedImageError, require
from hilum.inputs.image_struct import grey_pixels
from hilum.inputs.numbers import Reasons, Stored, read_numbers
from hilum.inputs.text import TextEncoder, encoder_from_json
from hilum.preprocessing import Chain

__all__ = ["ImageInput", "Input", "Moment", "TensorInput", "TextInput", "input_from_json"]

DTYPES = ("float32", "int64")


class Moment(NamedTuple):
    """When in a run a batch is used; random steps draw from it.

    `samples` are the rows' positions in the cache, int64 (N,).
    """

    seed: int
    epoch: int
    samples: Tensor


class Input(Protocol):
    """One column as one argument of the network."""

    @property
    def column(self) -> str:
        """Name of the column."""
        ...

    @property
    def dtype(self) -> npt.DTypeLike:
        """What is stored."""
        ...

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """Shape of what is stored of a row."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of what the network is given of a row."""
        ...

    def read(self, values: pa.Array) -> tuple[Stored, Reasons]:
        """What is stored of N rows, (N, *stored_shape), and why a row has nothing."""
        ...

    def tensor(self, stored: Tensor, moment: Moment | None = None) -> Tensor:
        """What the network is given, (N, *shape); un-augmented without a moment."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Plain data with a "kind", which `input_from_json` takes."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorInput:
    """Numbers, booleans, lists of any depth or ML vectors, as float32 or int64 of one shape."""

    column: str
    shape: tuple[int, ...]
    dtype: str = "float32"

    def __post_init__(self) -> None:
        require(self.dtype in DTYPES, "dtype", f"one of {', '.join(DTYPES)}", self.dtype)
        positive = all(size > 0 for size in self.shape)
        require(positive, f"shape of {self.column}", "of positive sizes", self.shape)

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """The shape itself."""
        return self.shape

    def read(self, values: pa.Array) -> tuple[Stored, Reasons]:
        """Numbers (N, *shape)."""
        return read_numbers(values, self.shape, self.dtype)

    def tensor(self, stored: Tensor, moment: Moment | None = None) -> Tensor:
        """As it is stored."""
        return stored

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        shape = list(self.shape)
        return {"kind": "tensor", "column": self.column, "shape": shape, "dtype": self.dtype}


@dataclass(frozen=True, slots=True, kw_only=True)
class TextInput:
    """A text as the whole numbers (length,) int64 that an encoder makes of it."""

    column: str
    encoder: TextEncoder

    @property
    def dtype(self) -> npt.DTypeLike:
        """Half of what the network is given."""
        return "int32"

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """The encoder's length."""
        return (self.encoder.length,)

    @property
    def shape(self) -> tuple[int, ...]:
        """The encoder's length."""
        return self.stored_shape

    def read(self, values: pa.Array) -> tuple[Stored, Reasons]:
        """Numbers (N, length) int32."""
        stored = np.zeros((len(values), *self.stored_shape), dtype=np.int32)
        reasons: Reasons = []
        for row, text in enumerate(values.to_pylist()):
            reasons.append("no_text" if text is None else None)
            if text is not None:
                stored[row] = self.encoder.encode(text)
        return stored, reasons

    def tensor(self, stored: Tensor, moment: Moment | None = None) -> Tensor:
        """As int64, which embeddings take."""
        return stored.long()

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"kind": "text", "column": self.column, "encoder": self.encoder.to_json()}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInput:
    """A Spark image struct through a chain: its prefix is stored, the suffix runs at each use.

    Attributes:
        stored_shape: (C, H, W) of what the prefix makes of an image.
    """

    column: str
    chain: Chain
    stored_shape: tuple[int, ...]

    @staticmethod
    def of(column: str, chain: Chain) -> "ImageInput":
        """The input of a chain whose prefix gives all images one size.

        Raises:
            InvalidValueError: it does not.
        """
        small, large = (chain.prefix.output_shape((1, side, side)) for side in (4096, 8192))
        require(
            small == large,
            "preprocessing",
            "a chain that gives all images one size",
            chain,
            hint="put Resize(height, width) first",
        )
        return ImageInput(column=column, chain=chain, stored_shape=small)

    @property
    def dtype(self) -> npt.DTypeLike:
        """Grey levels."""
        return "uint8"

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W) of the network's input."""
        channels, height, width = self.stored_shape
        return self.chain.suffix.output_shape((channels, height, width))

    def read(self, values: pa.Array) -> tuple[Stored, Reasons]:
        """Pixels (N, C, H, W) uint8."""
        stored = np.zeros((len(values), *self.stored_shape), dtype=np.uint8)
        reasons: Reasons = []
        for row, image in enumerate(values.to_pylist()):
            reasons.append(self._read_one(image, stored[row]))
        return stored, reasons

    def _read_one(self, image: Mapping[str, Any] | None, out: Stored) -> str | None:
        if image is None or image["data"] is None:
            return "no_image"
        try:
            pixels = torch.from_numpy(grey_pixels(image).copy())[None, None]
            out[...] = self.chain.prefix(pixels)[0].numpy()
        except RejectedImageError as error:
            return error.reason
        except InvalidValueError:  # too small for a crop, say
            return "wrong_shape"
        return None

    def tensor(self, stored: Tensor, moment: Moment | None = None) -> Tensor:
        """Float32 (N, C, h, w); augmented if there is a moment."""
        if moment is None:
            return self.chain.suffix.evaluation()(stored)
        return self.chain.suffix(
            stored, seed=moment.seed, epoch=moment.epoch, sample_ids=moment.samples
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        chain, shape = self.chain.to_json(), list(self.stored_shape)
        return {"kind": "image", "column": self.column, "chain": chain, "stored_shape": shape}


def input_from_json(data: Mapping[str, Any]) -> Input:
    """The inverse of an input's `to_json`.

    Raises:
        InvalidValueError: not an input, or of a kind this version does not know.
    """
    kind = str(data.get("kind"))
    require(kind in _READERS, "kind of an input", f"one of {', '.join(_READERS)}", kind)
    try:
        return _READERS[kind](data)
    except (KeyError, TypeError) as error:
        raise InvalidValueError(f"the stored input is incomplete: {error!r}.") from error


def _image(data: Mapping[str, Any]) -> Input:
    shape = tuple(map(int, data["stored_shape"]))
    chain = Chain.from_json(data["chain"])
    return ImageInput(column=str(data["column"]), chain=chain, stored_shape=shape)


def _tensor(data: Mapping[str, Any]) -> Input:
    shape = tuple(map(int, data["shape"]))
    return TensorInput(column=str(data["column"]), shape=shape, dtype=str(data["dtype"]))


def _text(data: Mapping[str, Any]) -> Input:
    return TextInput(column=str(data["column"]), encoder=encoder_from_json(data["encoder"]))


_READERS = {"image": _image, "tensor": _tensor, "text": _text}
