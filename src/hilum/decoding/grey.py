"""What PNG and JPEG share: a Pillow image to 8-bit grey, and errors of a codec to reason codes."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
from PIL import Image

from hilum.errors import RejectedImageError

__all__ = ["check_size", "codec_errors", "to_grey"]

Grey = npt.NDArray[np.uint8]

_DARK = 32  # an eighth of the display range


def to_grey(image: Image.Image, warnings: list[str]) -> Grey:
    """Return a writable copy of the pixels as grey, shape (H, W).

    Colour and alpha as in `hilum.decoding.decode`. 16-bit grey is rounded to nearest; Pillow
    itself truncates 16-bit colour and grey with alpha to 8 bits.
    """
    if image.mode == "L" and "transparency" not in image.info:
        return np.array(image)
    if image.mode.startswith("I;16"):
        return _eight_of_sixteen_bits(np.asarray(image), warnings)
    image = _without_alpha(image, warnings)
    if image.mode in ("1", "L"):
        return np.array(image.convert("L"))
    channels = np.asarray(image.convert("RGB"))
    red = channels[..., 0]
    if np.array_equal(red, channels[..., 1]) and np.array_equal(red, channels[..., 2]):
        return np.ascontiguousarray(red)
    warnings.append("color_converted")
    return np.array(image.convert("RGB").convert("L"))


def _without_alpha(image: Image.Image, warnings: list[str]) -> Image.Image:
    """Return the colour channels; alpha may be a channel, a palette column or one colour (tRNS)."""
    if "transparency" in image.info:
        image = image.convert("LA" if image.mode in ("1", "L") else "RGBA")
    if image.mode not in ("LA", "RGBA"):
        return image
    if image.getchannel("A").getextrema()[0] != 255:
        warnings.append("alpha_dropped")
    return image.getchannel("L") if image.mode == "LA" else image.convert("RGB")


def _eight_of_sixteen_bits(samples: npt.NDArray[np.uint16], warnings: list[str]) -> Grey:
    """Map 0..65535 to 0..255, rounded to nearest: 65535 / 255 is 257."""
    table = ((np.arange(1 << 16) + 128) // 257).astype(np.uint8)
    pixels: Grey = table[samples]
    if pixels.max() < _DARK:
        warnings.append("range_mostly_unused")  # such as 12-bit values that were never scaled
    return pixels


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Refuse an image whose header announces too many pixels.

    Raises:
        RejectedImageError: too_large.
    """
    if width * height > max_pixels:
        raise RejectedImageError(
            "too_large", f"{height} x {width} pixels, at most {max_pixels} allowed"
        )


@contextmanager
def codec_errors(reason: str) -> Iterator[None]:
    """Turn whatever a codec raises into `reason`; on damaged files that is nearly anything."""
    try:
        yield
    except RejectedImageError:
        raise
    except MemoryError:
        raise RejectedImageError("too_large", "not enough memory") from None
    except Exception as error:
        raise RejectedImageError(reason, f"{type(error).__name__} while decoding") from error
