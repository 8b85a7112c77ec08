"""The 14 findings of NIH ChestX-ray14, their order, and how finding lists are parsed.

The list exists once, here. Order is that of the NIH paper (Wang et al., CVPR 2017), which is
also the order of label and score arrays everywhere in Hilum.
"""

from collections.abc import Iterable, Sequence

from hilum.errors import InvalidValueError

__all__ = ["FINDINGS", "NO_FINDING", "canonical_finding", "multi_hot"]

FINDINGS: tuple[str, ...] = (
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Pleural_Thickening",
    "Hernia",
)
NO_FINDING = "No Finding"


def canonical_finding(name: str, findings: Sequence[str] = FINDINGS) -> str:
    """Return the known spelling of a finding; case, spaces, hyphens and underscores do not matter.

    Raises:
        InvalidValueError: the name is unknown; the message lists the known ones.
    """
    wanted = _fold(name)
    for finding in findings:
        if _fold(finding) == wanted:
            return finding
    known = ", ".join(findings)
    raise InvalidValueError(
        f"finding must be one of the known findings. Got {name!r}. "
        f"Hint: known are {known}; pass findings=[...] to use others."
    )


def multi_hot(names: Iterable[str], findings: Sequence[str] = FINDINGS) -> list[float]:
    """Turn finding names into a 0/1 vector in the order of `findings`.

    An empty list or "No Finding" is all zeros.
    """
    present = {canonical_finding(n, findings) for n in names if n and _fold(n) != "nofinding"}
    return [1.0 if finding in present else 0.0 for finding in findings]


def _fold(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())
