"""Fitting calibration and thresholds on validation patients, once training is done."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from hilum.evaluation.decision import NO_RULES, DecisionRules, fit_decision_rules
from hilum.evaluation.operating import DEFAULT_RULES, Rule
from hilum.inference import ModelBundle
from hilum.recipes.scoring import own_patient_where_unknown, score
from hilum.spark import NNModel

__all__ = ["unseen_validation", "with_decision_rules"]

logger = logging.getLogger(__name__)


def unseen_validation(frame: DataFrame) -> DataFrame:
    """Rows of the validation split whose patients are not in training as well.

    Splits by patient keep them all; a split by image leaves few, because a threshold fitted on
    patients the network has seen is too high for all others.
    """
    trained = frame.filter(F.col("split") == "train").select("patient_id").distinct()
    return frame.filter(F.col("split") == "valid").join(trained, "patient_id", "left_anti")


def with_decision_rules(
    bundle: ModelBundle,
    validation: DataFrame | None,
    say: Callable[[str], None] = logger.info,
    *,
    rules: Sequence[Rule] = DEFAULT_RULES,
    split: str = "valid",
) -> ModelBundle:
    """Return the bundle with calibration and thresholds fitted on a labelled table of images.

    Rules the bundle had before are replaced. Where none can be fitted, it has none, and
    `provenance["decision_rules"]` says why.

    Args:
        bundle: the model.
        validation: a labelled table as `label_and_split` makes, of patients neither trained nor
            tested on; None if there are none.
        say: is told the outcome in one line.
        rules: the operating points wanted, the default one first.
        split: name of where the images come from, for the record.
    """
    bare = replace(bundle, decision_rules=None)
    if validation is None:
        return _without(bare, "no validation split whose patients were not trained on", say)
    scored = score(NNModel(bare), validation)
    fitted = fit_decision_rules(
        bundle.findings,
        scored.labels,
        scored.scores,
        own_patient_where_unknown(scored),
        rules=rules,
        split=split,
    )
    for name, each in fitted.calibration.findings.items():
        if each.note:
            logger.info("not calibrated finding=%s why=%s", name, each.note)
    if not _decides_anything(fitted):
        return _without(bare, f"too few patients: {fitted}", say)
    say(f"decision rules {fitted}")
    provenance = {**bundle.provenance, "decision_rules": str(fitted)}
    return replace(bare, decision_rules=fitted, provenance=provenance)


def _without(bundle: ModelBundle, why: str, say: Callable[[str], None]) -> ModelBundle:
    note = f"{NO_RULES}: {why}"
    say(note)
    return replace(bundle, provenance={**bundle.provenance, "decision_rules": note})


def _decides_anything(rules: DecisionRules) -> bool:
    calibrated = any(each.method != "none" for each in rules.calibration.findings.values())
    return calibrated or any(
        not np.isnan(point.as_array()).all() for point in rules.operating_points
    )
