"""The signs of an image: every finding's function called with the patient's and image's streams."""

from collections.abc import Callable

from hilum.findings import FINDINGS
from hilum.phantom import chest_signs, lung_signs
from hilum.phantom.chest import Chest
from hilum.phantom.config import PhantomConfig, Purpose, stream
from hilum.phantom.plan import ImageSpec
from hilum.phantom.sign import Sign, Site

__all__ = ["signs"]

_DRAW: dict[str, Callable[[Site], Sign]] = {
    "Atelectasis": lung_signs.atelectasis,
    "Cardiomegaly": chest_signs.cardiomegaly,
    "Effusion": chest_signs.effusion,
    "Infiltration": lung_signs.infiltration,
    "Mass": lung_signs.mass,
    "Nodule": lung_signs.nodule,
    "Pneumonia": lung_signs.pneumonia,
    "Pneumothorax": chest_signs.pneumothorax,
    "Consolidation": lung_signs.consolidation,
    "Edema": lung_signs.edema,
    "Emphysema": chest_signs.emphysema,
    "Fibrosis": lung_signs.fibrosis,
    "Pleural_Thickening": chest_signs.pleural_thickening,
    "Hernia": chest_signs.hernia,
}


def signs(chest: Chest, config: PhantomConfig, spec: ImageSpec) -> dict[str, Sign]:
    """Return the sign of each finding of the image, by finding name."""
    drawn = {}
    for finding in spec.findings:
        part = 1 + FINDINGS.index(finding)
        place = stream(config, Purpose.SIGN_PLACE, spec.patient_id, part=part)
        grade = stream(config, Purpose.SIGN_EXTENT, spec.patient_id, spec.index, part=part)
        drawn[finding] = _DRAW[finding](Site(chest, place, grade, spec.view == "AP"))
    return drawn
