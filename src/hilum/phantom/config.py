"""What a set of phantoms depends on, and the random streams that follow from it.

Every random number comes from a stream named by (seed, patient, image, purpose), so a phantom does
not depend on the process that draws it, on the order of drawing, or on how many others are drawn.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from hilum.errors import require

__all__ = ["PhantomConfig", "Purpose", "stream"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PhantomConfig:
    """A set of phantoms.

    Attributes:
        size_px: width and height of the square images, 64 to 1024.
        seed: the same seed gives the same patients, labels and pixels.
        prevalence_scale: factor on the prevalence of every finding; 1.0 is NIH ChestX-ray14's.
            Scaled prevalences stop at one half.
        prevalence_floor: least prevalence of any finding, so that rare ones (Hernia: 0.2 %) occur
            in small sets.
    """

    size_px: int = 256
    seed: int = 0
    prevalence_scale: float = 1.0
    prevalence_floor: float = 0.0

    def __post_init__(self) -> None:
        require(64 <= self.size_px <= 1024, "size_px", "between 64 and 1024", self.size_px)
        require(self.seed >= 0, "seed", "a non-negative integer", self.seed)
        require(
            0.0 < self.prevalence_scale <= 50.0,
            "prevalence_scale",
            "above 0 and at most 50",
            self.prevalence_scale,
            hint="1.0 is the prevalence in NIH ChestX-ray14",
        )
        require(
            0.0 <= self.prevalence_floor <= 0.5,
            "prevalence_floor",
            "between 0 and 0.5",
            self.prevalence_floor,
        )


class Purpose(IntEnum):
    """What a random stream is for; a new purpose changes no other stream."""

    PLAN = 1
    ANATOMY = 2
    POSE = 3
    SIGN_PLACE = 4
    SIGN_EXTENT = 5
    TEXTURE = 6
    DEVICES = 7
    FILM = 8
    NOISE = 9
    DICOM = 10


def stream(
    config: PhantomConfig, purpose: Purpose, patient_id: int, index: int = -1, part: int = 0
) -> np.random.Generator:
    """Return the generator for one purpose; `index` -1 stands for the patient as a whole."""
    key = (config.seed, int(purpose), patient_id, index + 1, part)
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))
