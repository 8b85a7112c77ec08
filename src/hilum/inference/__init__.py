"""Inference: a bundle on disk, and the one predictor everything uses."""

from hilum.inference.bundle import ModelBundle, bundle_versions, load_bundle, save_bundle
from hilum.inference.embedding import embed
from hilum.inference.outliers import OutlierDetector, fit_outlier_detector
from hilum.inference.predictor import Prediction, Predictor

__all__ = [
    "ModelBundle",
    "OutlierDetector",
    "Prediction",
    "Predictor",
    "bundle_versions",
    "embed",
    "fit_outlier_detector",
    "load_bundle",
    "save_bundle",
]
