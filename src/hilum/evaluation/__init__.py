"""Evaluation: numbers per finding with intervals over patients, thresholds, and the report.

Numbers are here; drawing is apart, in `hilum.evaluation.plots` and `hilum.evaluation.report`, so
that a training worker that asks for an AUC does not import matplotlib.
"""

from hilum.evaluation.aggregation import Aggregated, aggregate
from hilum.evaluation.bootstrap import AurocIntervals, PatientBootstrap, auroc_intervals
from hilum.evaluation.calibration import Calibration, FindingCalibration
from hilum.evaluation.calibration_fit import fit_calibration
from hilum.evaluation.confusion import OperatingResult, measure_at, predictive_values
from hilum.evaluation.decision import DecisionRules, fit_decision_rules
from hilum.evaluation.delong import delong_interval
from hilum.evaluation.intervals import Measured, MetricTable, metric_table
from hilum.evaluation.losses import brier_score, log_loss
from hilum.evaluation.measure import evaluate
from hilum.evaluation.metrics import RocCurve, any_finding, mean_auroc, roc_auc_score, roc_curve
from hilum.evaluation.operating import (
    DEFAULT_RULES,
    AtSpecificity,
    LowestCost,
    OperatingPoint,
    Youden,
    choose_thresholds,
    fit_operating_point,
)
from hilum.evaluation.precision import PrCurve, average_precision_score, pr_curve
from hilum.evaluation.reliability import Reliability, measure_reliability
from hilum.evaluation.result import Evaluation, FindingResult, ViewResult

__all__ = [
    "DEFAULT_RULES",
    "Aggregated",
    "AtSpecificity",
    "AurocIntervals",
    "Calibration",
    "DecisionRules",
    "Evaluation",
    "FindingCalibration",
    "FindingResult",
    "LowestCost",
    "Measured",
    "MetricTable",
    "OperatingPoint",
    "OperatingResult",
    "PatientBootstrap",
    "PrCurve",
    "Reliability",
    "RocCurve",
    "ViewResult",
    "Youden",
    "aggregate",
    "any_finding",
    "auroc_intervals",
    "average_precision_score",
    "brier_score",
    "choose_thresholds",
    "delong_interval",
    "evaluate",
    "fit_calibration",
    "fit_decision_rules",
    "fit_operating_point",
    "log_loss",
    "mean_auroc",
    "measure_at",
    "measure_reliability",
    "metric_table",
    "pr_curve",
    "predictive_values",
    "roc_auc_score",
    "roc_curve",
]
