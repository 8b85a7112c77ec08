"""Small image files in every flavour Hilum reads, and eleven ways to break one."""

from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from hilum.phantom import PhantomConfig, encode_dicom, image_specs

Grey = npt.NDArray[np.uint8]


def picture(seed: int, height: int = 24, width: int = 20) -> Grey:
    """A grey picture with every kind of byte in it."""
    return np.random.default_rng(seed).integers(0, 256, (height, width)).astype(np.uint8)


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    file = BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def png(pixels: Grey) -> bytes:
    return encoded(Image.fromarray(pixels))


def png16(pixels: Grey) -> bytes:
    """16 bits whose linear mapping to 8 bits is `pixels`."""
    return encoded(Image.fromarray(pixels.astype(np.uint16) * 257))


def dicom(pixels: Grey, seed: int = 0) -> bytes:
    """A phantom's DICOM object with these pixels; square ones only."""
    return encode_dicom(pixels, next(image_specs(PhantomConfig(size_px=64), 1)), seed=seed)


def broken_files() -> dict[str, tuple[bytes, str]]:
    """Eleven files nobody can use: name to content and the reason each must be given."""
    good, scan = png(picture(1, 64, 64)), dicom(picture(2, 64, 64))
    photograph = encoded(Image.fromarray(picture(3, 64, 64)), "JPEG")
    damaged = bytearray(good)
    damaged[len(good) // 2] ^= 0xFF
    giant = bytearray(good)
    giant[16:24] = (200_000).to_bytes(4, "big") * 2
    giant[29:33] = _crc(bytes(giant[12:29]))
    return {
        "empty.png": (b"", "empty"),
        "text.png": (b"patient was not there today", "not_an_image"),
        "page.jpg": (b"<html>403 Forbidden</html>", "not_an_image"),
        "zeros.dcm": (bytes(4096), "not_an_image"),
        "cut.png": (good[: len(good) // 2], "truncated"),
        "cut.jpg": (photograph[: len(photograph) // 2], "truncated"),
        "cut.dcm": (scan[:-500], "truncated"),
        "header_only.dcm": (scan[:200], "truncated"),
        "bit_rot.png": (bytes(damaged), "corrupt"),
        "bomb.png": (bytes(giant), "too_large"),
        "syntax.dcm": (
            scan.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.9\0"),
            "unsupported_syntax",
        ),
    }


def write_files(directory: Path, files: dict[str, bytes]) -> Path:
    """Write files, making directories on the way."""
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return directory


def _crc(data: bytes) -> bytes:
    from zlib import crc32

    return crc32(data).to_bytes(4, "big")
