"""Saving stages beside Spark's own metadata, so that pipelines save and load them.

PATH/metadata/    Spark ML's: class, uid, parameters
PATH/bundle/      of a model: hilum.inference bundle, usable without Spark as well
PATH/model/       of an estimator whose model is no name: how it is built, and its start weights
"""

from typing import TYPE_CHECKING

from pyspark.ml.util import DefaultParamsReader, DefaultParamsWriter, MLReader, MLWriter

from hilum import storage
from hilum.inference import load_bundle, save_bundle
from hilum.spark.model_param import load_model_value, save_model_value

if TYPE_CHECKING:
    from hilum.spark.estimator import NNEstimator
    from hilum.spark.model import NNModel

__all__ = ["NNEstimatorReader", "NNEstimatorWriter", "NNModelReader", "NNModelWriter"]


class NNModelWriter(MLWriter):
    """Writes an NNModel; `write().overwrite().save(path)` replaces what is there."""

    def __init__(self, instance: "NNModel") -> None:
        super().__init__()
        self.instance = instance

    def saveImpl(self, path: str) -> None:
        """Write metadata, then the bundle."""
        DefaultParamsWriter.saveMetadata(self.instance, path, self.sparkSession)
        save_bundle(self.instance.bundle, storage.join(path, "bundle"))


class NNModelReader(MLReader["NNModel"]):
    """Reads an NNModel that NNModelWriter wrote."""

    def __init__(self, cls: "type[NNModel]") -> None:
        super().__init__()
        self.cls = cls

    def load(self, path: str) -> "NNModel":
        """Read metadata and bundle."""
        metadata = DefaultParamsReader.loadMetadata(path, self.sparkSession)
        instance = self.cls(load_bundle(storage.join(path, "bundle")))
        instance._resetUid(metadata["uid"])
        DefaultParamsReader.getAndSetParams(instance, metadata)
        return instance


class NNEstimatorWriter(MLWriter):
    """Writes an NNEstimator; `write().overwrite().save(path)` replaces what is there."""

    def __init__(self, instance: "NNEstimator") -> None:
        super().__init__()
        self.instance = instance

    def saveImpl(self, path: str) -> None:
        """Write metadata, and beside it a model that is no name."""
        model = self.instance.getOrDefault("model")
        values = {param.name: value for param, value in self.instance._paramMap.items()}
        if not isinstance(model, str):
            del values["model"]
        DefaultParamsWriter.saveMetadata(self.instance, path, self.sparkSession, paramMap=values)
        save_model_value(model, storage.join(path, "model"))


class NNEstimatorReader(MLReader["NNEstimator"]):
    """Reads an NNEstimator that NNEstimatorWriter wrote."""

    def __init__(self, cls: "type[NNEstimator]") -> None:
        super().__init__()
        self.cls = cls

    def load(self, path: str) -> "NNEstimator":
        """Read metadata and model."""
        metadata = DefaultParamsReader.loadMetadata(path, self.sparkSession)
        instance = self.cls()
        instance._resetUid(metadata["uid"])
        DefaultParamsReader.getAndSetParams(instance, metadata)
        model = load_model_value(storage.join(path, "model"))
        return instance if model is None else instance._set(model=model)
