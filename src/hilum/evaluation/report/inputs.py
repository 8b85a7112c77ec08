"""All a report can show, as plain values: what the parts of the page are made from.

Only the evaluation is required. Everything else may be left out, and is then named under "Not
examined". The values come from whatever measured them; this module computes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from hilum.evaluation.bands import CurveBands
from hilum.evaluation.cooccurrence import Cooccurrence
from hilum.evaluation.label_noise import LabelAgreement
from hilum.evaluation.localisation import Localisation
from hilum.evaluation.published import PublishedResult
from hilum.evaluation.report.tables import Estimate
from hilum.evaluation.result import Evaluation
from hilum.evaluation.robustness import Robustness
from hilum.evaluation.shortcuts import Probe, ShortcutRow
from hilum.evaluation.subgroup_result import Subgroups
from hilum.evaluation.summary import DataFlow
from hilum.evaluation.training_plots import HistoryRow

__all__ = [
    "Example",
    "ModelFacts",
    "OutOfDistribution",
    "ReportInputs",
]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Example:
    """One radiograph and what the model said.

    Attributes:
        name: shown above it; no patient's name.
        pixels: uint8, (H, W) or (H, W, 3).
        probabilities: per finding.
        labels: per finding 1, 0 or None for unknown; empty if there are none.
        finding: the finding it was picked for; empty for none.
        kind: why it was picked: "hit", "false alarm", "miss"; empty for none.
        note: one sentence about it.
        overlay: the same radiograph under a heat map of `finding`, uint8 (H, W, 3).
    """

    name: str
    pixels: npt.NDArray[np.uint8]
    probabilities: Mapping[str, float]
    labels: Mapping[str, float | None] = field(default_factory=dict)
    finding: str = ""
    kind: str = ""
    note: str = ""
    overlay: npt.NDArray[np.uint8] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What is known about the model apart from how well it does.

    Attributes:
        digest: SHA-256 of the weights, hexadecimal.
        preprocessing: the steps in words, in order.
        provenance: how it came to be, as the bundle stores it.
    """

    architecture: str
    findings: tuple[str, ...]
    parameters: int | None = None
    digest: str = ""
    preprocessing: Sequence[str] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOfDistribution:
    """How well the model's own warning tells images it should not be used on."""

    kind: str
    auroc: Estimate
    images: int
    flagged: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReportInputs:
    """All a report can show; only the evaluation is required.

    Attributes:
        subtitle: model, data and date in one line.
        notes: sentences that a reader must not miss, shown above all else.
        label_counts: images per finding over all splits, with their number in `label_images`.
        history: one mapping per epoch: "train_loss", "valid_loss", "valid_mean_auroc", "lr",
            "images_per_s"; None or missing where not measured.
        settings: how the result can be made again: seed, model, weights, preprocessing, versions.
        curves: bands by finding name and `ANY_FINDING`.
        published: results to show beside; empty where the data are of another kind.
        rules: what each operating point's threshold is for, by the name of its rule.
        fitted_on: where thresholds and calibration come from; empty if the bundle has none.
        probes: by attribute, such as "view", how well it is read from what the network computes.
        within: by attribute and finding, the AUC where the attribute cannot help.
        label_agreement: by finding, the labels against adjudicated ones.
        localisation: by finding, heat maps against boxes.
        calibrated: findings whose probabilities were calibrated.
        reasons_missing: why something was not examined, by its name there.
    """

    evaluation: Evaluation
    title: str = "Chest radiograph classifier: evaluation"
    subtitle: str = ""
    notes: Sequence[str] = ()
    flow: DataFlow = field(default_factory=DataFlow)
    label_counts: Mapping[str, int] = field(default_factory=dict)
    label_images: int = 0
    history: Sequence[HistoryRow] = ()
    examples: Sequence[Example] = ()
    settings: Mapping[str, object] = field(default_factory=dict)
    model: ModelFacts | None = None
    curves: Mapping[str, CurveBands | None] = field(default_factory=dict)
    published: Sequence[PublishedResult] = ()
    rules: Mapping[str, str] = field(default_factory=dict)
    fitted_on: str = ""
    calibrated: Sequence[str] = ()
    cooccurrence: Cooccurrence | None = None
    subgroups: Subgroups | None = None
    probes: Mapping[str, Sequence[Probe]] = field(default_factory=dict)
    within: Mapping[str, Mapping[str, ShortcutRow]] = field(default_factory=dict)
    label_agreement: Mapping[str, LabelAgreement] = field(default_factory=dict)
    robustness: Robustness | None = None
    out_of_distribution: Sequence[OutOfDistribution] = ()
    localisation: Mapping[str, Localisation] = field(default_factory=dict)
    reasons_missing: Mapping[str, str] = field(default_factory=dict)
