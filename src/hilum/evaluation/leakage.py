"""Do two tables share patients or images? A test on patients one trained on flatters the model."""

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Overlap", "overlap"]

EXAMPLES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """What two tables have in common.

    Attributes:
        patients: different patients that are in both.
        images: different file names that are in both.
        patient_examples: up to five of these patients, in order.
        image_examples: likewise.
    """

    patients: int
    images: int
    patient_examples: tuple[str, ...] = ()
    image_examples: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything is shared."""
        return bool(self.patients or self.images)

    def __str__(self) -> str:
        if not self:
            return "no patient and no image in both tables"
        shown = [
            f"{count:,} {noun}{'s' * (count != 1)} in both tables ({', '.join(examples)}"
            f"{', ...' * (count > len(examples))})"
            for count, noun, examples in (
                (self.patients, "patient", self.patient_examples),
                (self.images, "image", self.image_examples),
            )
            if count
        ]
        return "; ".join(shown)


def overlap(
    patients_a: Iterable[object],
    patients_b: Iterable[object],
    *,
    files_a: Iterable[str | None] = (),
    files_b: Iterable[str | None] = (),
) -> Overlap:
    """Find the patients, by id, and the images, by file name, that are in both tables.

    Ids are compared as text without surrounding blanks, and of a path the last part counts, as
    everywhere in Hilum. What is None, NaN or blank is unknown and shared with nobody. The same
    picture under two names is not seen.

    >>> str(overlap(["1", "2", 2], [2, 3], files_a=["x/a.png"], files_b=["a.png", "b.png"]))
    '1 patient in both tables (2); 1 image in both tables (a.png)'
    """
    patients = sorted(_known(patients_a) & _known(patients_b))
    images = sorted(_names(files_a) & _names(files_b))
    return Overlap(
        patients=len(patients),
        images=len(images),
        patient_examples=tuple(patients[:EXAMPLES]),
        image_examples=tuple(images[:EXAMPLES]),
    )


def _known(values: Iterable[object]) -> set[str]:
    known = (str(value).strip() for value in values if value is not None and value == value)
    return {value for value in known if value}


def _names(files: Iterable[str | None]) -> set[str]:
    return {file.replace("\\", "/").rpartition("/")[2] for file in _known(files)}
