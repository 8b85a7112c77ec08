"""Inference: a bundle on disk, and the one predictor everything uses."""

from hilum.inference.bundle import ModelBundle, bundle_versions, load_bundle, save_bundle
from hilum.inference.embedding import embed
from hilum.inference.predictor import Predictor

__all__ = ["ModelBundle", "Predictor", "bundle_versions", "embed", "load_bundle", "save_bundle"]
