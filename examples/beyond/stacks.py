"""Parts of an MR stack, turned and bent at random: what executors make of a number."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hilum.zoo import AffineTransform3D, CenterCrop3D, RandomCrop3D, Rotate3D

__all__ = ["DIRECTIONS", "SHAPE", "Parts"]

Volume = npt.NDArray[np.float32]

DIRECTIONS = ("as acquired", "slices reversed", "left for right", "upside down")
SHAPE = (4, 32, 32)
_LARGER = (4, 56, 56)  # so that a turn brings in voxels, not what is beyond the border
_TILT = 0.015  # radians; more would leave the few slices at their edges


@dataclass(frozen=True, slots=True)
class Parts:
    """Random parts of a stack.

    Attributes:
        stack: (depth, height, width), not smaller than (4, 56, 56).
        seed: part `number` is a function of both.
    """

    stack: Volume
    seed: int

    def direction(self, number: int) -> int:
        """Which of `DIRECTIONS` the part has."""
        return number % len(DIRECTIONS)

    def part(self, number: int) -> Volume:
        """A part (4, 32, 32): cropped, turned, sheared, scaled, dimmed; then laid some way."""
        random = np.random.default_rng((self.seed, number))
        tilt, roll = random.uniform(-_TILT, _TILT, 2), random.uniform(-0.5, 0.5)
        bent = np.eye(3)
        bent[1:, 1:] += random.uniform(-0.15, 0.15, (2, 2))
        part = RandomCrop3D(*_LARGER).apply(self.stack, random)
        part = Rotate3D((*tilt, roll)).apply(part)
        part = AffineTransform3D(bent).apply(part)
        part = CenterCrop3D(*SHAPE).apply(part) * np.float32(random.uniform(0.8, 1.2))
        laid: Volume = (part, part[::-1], part[:, :, ::-1], part[:, ::-1])[self.direction(number)]
        return laid
