"""A chain of steps: one frozen value that says how radiographs become a network's input.

It travels with the model (JSON in the bundle), names the cache (fingerprint) and is the same
object in training, evaluation and serving, so that all see the same pixels. A chain splits into a
deterministic prefix, which the cache computes once, and the suffix, which runs each time:

    chain(images) == chain.suffix(chain.prefix(images))
    chain.evaluation()(images) == chain.suffix.evaluation()(chain.prefix(images))
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from hilum.errors import InvalidValueError, require
from hilum.preprocessing.codec import STEP_TYPES, step_from_json, step_to_json
from hilum.preprocessing.randomness import uniform_draws
from hilum.preprocessing.transform import RandomTransform, Shape, Step, image_shape

__all__ = ["Chain"]

_FORMAT, _VERSION = "hilum.preprocessing.Chain", 1
_UNBOUNDED = 2**31  # an image that no crop is too large for


@dataclass(frozen=True, slots=True)
class Chain:
    """Preprocessing steps in the order they run.

    Contradictions that no input could satisfy (a crop larger than the resize before it, three
    means for one channel, pixels treated after normalisation) are errors on construction.

        chain = Chain((Resize(256, 256), CenterCrop(224, 224), ChannelNormalize((0.5,), (0.5,))))
        inputs = chain(images)  # uint8 (N, 1, H, W) -> float32 (N, 1, 224, 224)
    """

    steps: tuple[Step, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", tuple(self.steps))
        for index, step in enumerate(self.steps):
            require(
                type(step) is STEP_TYPES.get(type(step).__name__),
                f"step {index}",
                f"one of Hilum's steps ({', '.join(STEP_TYPES)}), which can be stored",
                step,
            )
        _require_possible(self)

    def __call__(
        self,
        images: Tensor,
        *,
        seed: int = 0,
        epoch: int = 0,
        sample_ids: Tensor | npt.NDArray[np.int64] | None = None,
    ) -> Tensor:
        """Run the chain on a batch (N, C, H, W), uint8 or floating in grey units 0..255.

        What happens to an image depends on (seed, epoch, its sample id) alone, not on the batch
        around it. The input is never written to; the result may be a view of it.

        Args:
            images: the batch, on any device.
            seed: of the run; for random steps.
            epoch: of the run; each epoch draws anew.
            sample_ids: int64 (N,), best in host memory; needed if the chain has random steps.
        """
        self.output_shape(image_shape(images))
        draws = iter(self._draws(seed, epoch, sample_ids, len(images)))
        for step in self.steps:
            if isinstance(step, RandomTransform):
                images = step(images, next(draws))
            else:
                images = step(images)
        return images

    @property
    def is_deterministic(self) -> bool:
        """Whether no step is random."""
        return not any(isinstance(step, RandomTransform) for step in self.steps)

    @property
    def prefix(self) -> "Chain":
        """The leading steps whose result a cache can store: deterministic, still uint8 and grey."""
        return Chain(self.steps[: self._prefix_length()])

    @property
    def suffix(self) -> "Chain":
        """The steps after the prefix: what runs on cached images."""
        return Chain(self.steps[self._prefix_length() :])

    def evaluation(self) -> "Chain":
        """Return the deterministic chain for evaluation and prediction, of the same output shape.

        Random crops become centre crops; other random steps are left out.
        """
        steps = (
            step.evaluation() if isinstance(step, RandomTransform) else step for step in self.steps
        )
        return Chain(tuple(step for step in steps if step is not None))

    def output_shape(self, shape: Shape) -> Shape:
        """Return the (C, H, W) that an image of `shape` comes out with.

        Raises:
            InvalidValueError: a step cannot take its input; the message names it.
        """
        for index, step in enumerate(self.steps):
            try:
                shape = step.output_shape(shape)
            except InvalidValueError as error:
                name = type(step).__name__
                raise InvalidValueError(f"step {index} ({name}): {error}") from error
        return shape

    def to_json(self) -> dict[str, Any]:
        """Return the chain as plain JSON values."""
        steps = [step_to_json(step) for step in self.steps]
        return {"format": _FORMAT, "version": _VERSION, "steps": steps}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Chain":
        """Rebuild a chain from `to_json`'s values; nothing is looked up, imported or executed."""
        require(
            isinstance(document, Mapping) and document.get("format") == _FORMAT,
            "chain",
            f"a JSON object with format {_FORMAT!r}",
            document,
        )
        require(
            document.get("version") == _VERSION,
            "version of the chain",
            f"{_VERSION}",
            document.get("version"),
            hint="a newer Hilum wrote it; update this one",
        )
        steps = document.get("steps")
        require(isinstance(steps, list | tuple), "steps of the chain", "a list", steps)
        return cls(tuple(step_from_json(step, index) for index, step in enumerate(steps or ())))

    def fingerprint(self) -> str:
        """Return the sha256 of the canonical JSON: equal for equal chains, on any machine."""
        canonical = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode("ascii")).hexdigest()

    def _draws(
        self,
        seed: int,
        epoch: int,
        sample_ids: Tensor | npt.NDArray[np.int64] | None,
        num_images: int,
    ) -> list[Tensor]:
        """Return the random numbers of each random step.

        Random steps are counted among themselves, so that a suffix draws as its chain does.
        """
        random_steps = [step for step in self.steps if isinstance(step, RandomTransform)]
        if not random_steps:
            return []
        if sample_ids is None or tuple(sample_ids.shape) != (num_images,):
            raise InvalidValueError(
                "sample_ids must be one whole number for each image, as the chain has random "
                f"steps. Got {None if sample_ids is None else tuple(sample_ids.shape)} for "
                f"{num_images} images. Hint: for evaluation and prediction use "
                "chain.evaluation(), which needs none."
            )
        return [
            uniform_draws(seed, epoch, sample_ids, step=index, num_draws=step.num_draws)
            for index, step in enumerate(random_steps)
        ]

    def _prefix_length(self) -> int:
        for index, step in enumerate(self.steps):
            if isinstance(step, RandomTransform) or not step.cacheable:
                return index
        return len(self.steps)


def _require_possible(chain: Chain) -> None:
    """Raise if no image, grey or RGB, however large, could pass, or if grey units end too early."""
    names = [type(step).__name__ for step in chain.steps]
    if "ChannelNormalize" in names:
        after = names[names.index("ChannelNormalize") + 1 :]
        require(
            not after,
            "ChannelNormalize",
            "the last step, as the others work in grey units 0..255",
            f"{', '.join(after)} after it",
        )
    try:
        chain.output_shape((1, _UNBOUNDED, _UNBOUNDED))
    except InvalidValueError as grey_error:
        try:
            chain.output_shape((3, _UNBOUNDED, _UNBOUNDED))
        except InvalidValueError:
            raise grey_error from None
