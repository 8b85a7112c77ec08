"""Evaluation: exact AUCs per finding with intervals over patients, pictures and the report.

Numbers are here; drawing is apart, in `hilum.evaluation.plots` and `hilum.evaluation.report`, so
that a training worker that asks for an AUC does not import matplotlib.
"""

from hilum.evaluation.bootstrap import AurocIntervals, auroc_intervals
from hilum.evaluation.measure import evaluate
from hilum.evaluation.metrics import RocCurve, any_finding, mean_auroc, roc_auc_score, roc_curve
from hilum.evaluation.result import Evaluation, FindingResult, ViewResult

__all__ = [
    "AurocIntervals",
    "Evaluation",
    "FindingResult",
    "RocCurve",
    "ViewResult",
    "any_finding",
    "auroc_intervals",
    "evaluate",
    "mean_auroc",
    "roc_auc_score",
    "roc_curve",
]
