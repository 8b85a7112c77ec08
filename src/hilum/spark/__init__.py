"""The Spark shell: DataFrames in, DataFrames out; works on Spark classic and Spark Connect."""

from hilum.spark.barrier import BarrierLauncher
from hilum.spark.cache import CacheColumns, build_cache
from hilum.spark.classifier import NNClassifier
from hilum.spark.classifier_model import NNClassifierModel
from hilum.spark.estimator import NNEstimator
from hilum.spark.evaluator import RocAucEvaluator
from hilum.spark.fitting import FittedRun, resume_run
from hilum.spark.images import read_radiographs
from hilum.spark.joining import JoinReport, join_labels, join_report, merge_duplicate_columns
from hilum.spark.labels import findings_of, read_labels
from hilum.spark.leakage import shared_patients
from hilum.spark.metrics import AurocCounts, auroc_counts
from hilum.spark.model import NNModel
from hilum.spark.session import check_java, local_session
from hilum.spark.splits import (
    PatientLeakageWarning,
    folds_by_patient,
    leaking_patients,
    split_by_image,
    split_by_list,
    split_by_patient,
    split_of,
)
from hilum.spark.sql_function import register_predict
from hilum.spark.statistics import FindingCount, FindingTable, ViewCount, finding_counts
from hilum.spark.streaming import stream_radiographs

__all__ = [
    "AurocCounts",
    "BarrierLauncher",
    "CacheColumns",
    "FindingCount",
    "FindingTable",
    "FittedRun",
    "JoinReport",
    "NNClassifier",
    "NNClassifierModel",
    "NNEstimator",
    "NNModel",
    "PatientLeakageWarning",
    "RocAucEvaluator",
    "ViewCount",
    "auroc_counts",
    "build_cache",
    "check_java",
    "finding_counts",
    "findings_of",
    "folds_by_patient",
    "join_labels",
    "join_report",
    "leaking_patients",
    "local_session",
    "merge_duplicate_columns",
    "read_labels",
    "read_radiographs",
    "register_predict",
    "resume_run",
    "shared_patients",
    "split_by_image",
    "split_by_list",
    "split_by_patient",
    "split_of",
    "stream_radiographs",
]
