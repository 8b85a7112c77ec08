"""Images that are no upright frontal radiographs, to measure whether a score notices them.

Photographs are crops of the two that come with scikit-learn; noise and pages of text are drawn;
inverted and turned radiographs are made of radiographs at hand. All of it is seeded.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from hilum.errors import require

__all__ = ["TURNED", "noise", "photographs", "strangers", "text_pages"]

Pixels = npt.NDArray[np.uint8]

_LUMA = np.array([0.299, 0.587, 0.114])
_LEAST_SIDE_PX, _MOST_SIDE_PX = 120, 400

TURNED: Mapping[str, Callable[[Pixels], Pixels]] = {
    "inverted": lambda pixels: 255 - pixels,
    "turned by 90 degrees": lambda pixels: np.ascontiguousarray(np.rot90(pixels)),
    "turned by 180 degrees": lambda pixels: np.ascontiguousarray(np.rot90(pixels, 2)),
}


def strangers(
    radiographs: Sequence[Pixels], *, count: int = 50, seed: int = 0
) -> dict[str, list[Pixels]]:
    """Return images by kind: `count` each of what is no radiograph, all `radiographs` turned.

    Args:
        radiographs: uint8 (H, W) each.
        count: photographs, noise pictures and pages of text to make.
        seed: of what is drawn.
    """
    require(count > 0, "count", "positive", count)
    drawn = {
        "photographs": photographs(count, seed=seed),
        "noise": noise(count, seed=seed),
        "text": text_pages(count, seed=seed),
    }
    return drawn | {kind: list(map(turn, radiographs)) for kind, turn in TURNED.items()}


def photographs(count: int, *, seed: int = 0) -> list[Pixels]:
    """Return square crops, 120 to 400 pixels, of a temple and of a flower, in grey."""
    from sklearn.datasets import load_sample_image

    random = np.random.default_rng(seed)
    pictures = [
        np.rint(load_sample_image(name) @ _LUMA).astype(np.uint8)
        for name in ("china.jpg", "flower.jpg")
    ]
    crops = []
    for index in range(count):
        picture = pictures[index % len(pictures)]
        side = int(random.integers(_LEAST_SIDE_PX, _MOST_SIDE_PX))
        top, left = (int(random.integers(0, extent - side)) for extent in picture.shape)
        crops.append(np.ascontiguousarray(picture[top : top + side, left : left + side]))
    return crops


def noise(count: int, *, side_px: int = 256, seed: int = 0) -> list[Pixels]:
    """Return noise of many grains, from single pixels to clouds as large as a lung."""
    from scipy.ndimage import gaussian_filter

    random = np.random.default_rng(seed)
    images = []
    for grain_px in np.geomspace(0.3, side_px / 8, count):
        field = gaussian_filter(random.standard_normal((side_px, side_px)), grain_px, mode="wrap")
        images.append(np.clip(128 + 50 * field / field.std(), 0, 255).astype(np.uint8))
    return images


def text_pages(count: int, *, side_px: int = 256, seed: int = 0) -> list[Pixels]:
    """Return pages of random letters, dark on light and light on dark."""
    from PIL import Image, ImageDraw, ImageFont

    random = np.random.default_rng(seed)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz      "))
    pages = []
    for index in range(count):
        size = int(random.integers(8, 24))
        dark, light = int(random.integers(0, 60)), int(random.integers(190, 256))
        ink, paper = (dark, light) if index % 2 else (light, dark)
        page = Image.new("L", (side_px, side_px), paper)
        lines = ["".join(random.choice(letters, 60)) for _ in range(side_px // size)]
        font = ImageFont.load_default(size)
        ImageDraw.Draw(page).multiline_text((6, 6), "\n".join(lines), fill=ink, font=font)
        pages.append(np.array(page))
    return pages
