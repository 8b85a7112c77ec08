"""The measures of one chest, in centimetres: what is the patient's and what is the image's.

The patient stream fixes the body, so images of a patient look alike; the image stream changes
breath, rotation, position and exposure; findings that reshape the chest (big heart, flat
diaphragm, raised dome) act here, before anything is drawn.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from hilum.findings import FINDINGS
from hilum.phantom.config import PhantomConfig, Purpose, stream
from hilum.phantom.plan import ImageSpec

__all__ = ["Anatomy", "Pose", "affected_side", "anatomy", "pose"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Anatomy:
    """One chest. Origin at the carina, x to the patient's left, y towards the feet, cm.

    Attributes:
        half_width: midline to the lateral pleura at the widest place.
        dome_drop: how far the diaphragm falls from dome to costophrenic angle.
        heart_right, heart_left: midline to the heart's borders.
        knob: how far the aortic arch stands out.
        depth: front to back of the trunk.
        wall: fat and muscle between pleura and skin.
        shift: how far heart and trachea lie to the left of their usual place.
        aerated: soft-tissue density of lung (0 is air, 1 water).
        vessel_scale: calibre of the lung vessels, 1 is normal.
    """

    half_width: float
    apex_y: float
    dome_right_y: float
    dome_left_y: float
    dome_drop: float
    heart_right: float
    heart_left: float
    knob: float
    depth: float
    wall: float
    breast: float
    scoliosis: float
    rib_spacing: float
    rib_slope: float
    rib_radius: float
    bone_density: float
    clavicle_tilt: float
    shift: float
    turn: float
    aerated: float
    vessel_scale: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pose:
    """How the chest lies on the detector and how the picture is exposed.

    Attributes:
        tilt_deg: rotation in the picture plane.
        shift_x, shift_y: cm by which the chest is off the centre of the detector.
        contrast, brightness: of the film curve, relative to the usual one.
        blur_cm: patient motion and focal spot.
    """

    tilt_deg: float
    shift_x: float
    shift_y: float
    contrast: float
    brightness: float
    blur_cm: float


def anatomy(config: PhantomConfig, spec: ImageSpec) -> Anatomy:
    """Return the chest of an image: patient, then breath and view, then findings."""
    body = _patient_anatomy(config, spec)
    return _with_findings(_breathing(body, config, spec), config, spec)


def _patient_anatomy(config: PhantomConfig, spec: ImageSpec) -> Anatomy:
    rng = stream(config, Purpose.ANATOMY, spec.patient_id)
    z = _bounded(rng, 20)
    male = spec.sex == "M"
    fat = math.exp(0.45 * z[0])
    tall = z[1]
    ageing = max(0.0, (spec.age_years - 50) / 30)
    dome = 9.6 + 0.9 * tall
    return Anatomy(
        half_width=(13.5 if male else 12.6) + 0.55 * z[2],
        apex_y=-11.6 - 0.45 * tall,
        dome_right_y=dome,
        dome_left_y=dome + 1.1 + 0.35 * z[3],
        dome_drop=3.9 + 0.45 * z[4],
        heart_right=4.0 + 0.3 * z[5],
        heart_left=7.6 + 0.5 * z[6] + 0.35 * ageing,
        knob=1.0 + 0.25 * z[7] + 0.55 * ageing,
        depth=19.5 + 2.6 * fat + 0.5 * z[8],
        wall=1.5 + 1.3 * fat,
        breast=0.0 if male or spec.age_years < 13 else max(0.0, 2.9 + 1.2 * z[9]),
        scoliosis=0.35 * z[10],
        rib_spacing=2.22 + 0.08 * z[11] + 0.03 * tall,
        rib_slope=1.0 + 0.09 * z[12],
        rib_radius=0.60 + 0.04 * z[13],
        bone_density=float(np.clip(1.05 + 0.13 * z[14] - 0.18 * ageing, 0.6, 1.4)),
        clavicle_tilt=0.9 + 0.8 * z[15],
        shift=0.2 * z[16],
        turn=0.0,
        aerated=0.26 + 0.02 * z[17],
        vessel_scale=1.0 + 0.08 * z[18],
    )


def _breathing(body: Anatomy, config: PhantomConfig, spec: ImageSpec) -> Anatomy:
    rng = stream(config, Purpose.ANATOMY, spec.patient_id, spec.index)
    z = _bounded(rng, 3)
    is_ap = spec.view == "AP"
    breath = (-1.5 if is_ap else 0.2) + (0.8 if is_ap else 0.45) * z[0]
    heart = (1.13 if is_ap else 1.0) * (1 - 0.02 * breath)
    return replace(
        body,
        half_width=body.half_width + 0.12 * breath,
        dome_right_y=body.dome_right_y + breath,
        dome_left_y=body.dome_left_y + 0.9 * breath,
        heart_right=body.heart_right * heart,
        heart_left=body.heart_left * heart,
        turn=(0.55 if is_ap else 0.2) * z[1],
        clavicle_tilt=body.clavicle_tilt + (0.6 if is_ap else 0.2) * z[2],
        vessel_scale=body.vessel_scale * (1.1 if is_ap else 1.0),
    )


def _with_findings(body: Anatomy, config: PhantomConfig, spec: ImageSpec) -> Anatomy:
    rng = stream(config, Purpose.SIGN_EXTENT, spec.patient_id, spec.index)
    grade = rng.uniform(0.0, 1.0, 4).tolist()
    if "Emphysema" in spec.findings:
        body = replace(
            body,
            half_width=body.half_width + 0.5,
            dome_right_y=body.dome_right_y + 1.3 + 0.8 * grade[0],
            dome_left_y=body.dome_left_y + 1.0 + 0.8 * grade[0],
            dome_drop=body.dome_drop * (0.45 - 0.15 * grade[0]),
            heart_right=body.heart_right * 0.86,
            heart_left=body.heart_left * 0.80,
            aerated=body.aerated - 0.07 - 0.04 * grade[0],
            vessel_scale=body.vessel_scale * 0.85,
        )
    if "Cardiomegaly" in spec.findings:
        size = 1.24 + 0.25 * grade[1]
        body = replace(
            body,
            heart_right=body.heart_right * (0.5 + 0.5 * size),
            heart_left=min(body.heart_left * size, body.half_width - 1.2),
            vessel_scale=body.vessel_scale * 1.12,
        )
    if "Atelectasis" in spec.findings:
        # Lost volume pulls up the dome on its side and draws the mediastinum over.
        part = 1 + FINDINGS.index("Atelectasis")
        side = affected_side(stream(config, Purpose.SIGN_PLACE, spec.patient_id, part=part))
        lift = 0.9 + 1.6 * grade[3]
        body = replace(
            body,
            dome_right_y=body.dome_right_y - (lift if side < 0 else 0.0),
            dome_left_y=body.dome_left_y - (lift if side > 0 else 0.0),
            shift=body.shift + 0.35 * side * lift,
        )
    if "Edema" in spec.findings:
        body = replace(body, vessel_scale=body.vessel_scale * (1.25 + 0.2 * grade[2]))
    return body


def pose(config: PhantomConfig, spec: ImageSpec) -> Pose:
    """Return position and exposure of an image; portable AP images vary more."""
    rng = stream(config, Purpose.POSE, spec.patient_id, spec.index)
    z = _bounded(rng, 6)
    build = _bounded(stream(config, Purpose.POSE, spec.patient_id), 2)
    is_ap = spec.view == "AP"
    loose = 1.8 if is_ap else 1.0
    return Pose(
        tilt_deg=1.0 * loose * z[0],
        shift_x=0.3 * loose * z[1] + 0.4 * build[0],
        shift_y=(-2.0 if is_ap else -2.3) + 0.4 * loose * z[2] + 0.8 * build[1],
        contrast=(0.90 if is_ap else 1.0) * math.exp(0.10 * z[3]),
        brightness=(-0.12 if is_ap else 0.12) + 0.16 * loose * z[4],
        blur_cm=(0.05 if is_ap else 0.02) * math.exp(0.4 * z[5]),
    )


def affected_side(place: np.random.Generator) -> float:
    """Draw a side: -1 right, +1 left; the right lung is larger and hit a little more often."""
    return -1.0 if place.random() < 0.54 else 1.0


def _bounded(rng: np.random.Generator, count: int) -> list[float]:
    """Standard normals without the far tails, as floats so that float32 maps stay float32."""
    values: list[float] = np.clip(rng.standard_normal(count), -2.2, 2.2).tolist()
    return values
