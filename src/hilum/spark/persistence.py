"""Saving fitted models beside Spark's own metadata, so that pipelines save and load them.

PATH/metadata/    Spark ML's: class, uid, parameters
PATH/bundle/      hilum.inference bundle: usable without Spark as well
"""

from typing import TYPE_CHECKING

from pyspark.ml.util import DefaultParamsReader, DefaultParamsWriter, MLReader, MLWriter

from hilum import storage
from hilum.inference import load_bundle, save_bundle

if TYPE_CHECKING:
    from hilum.spark.model import NNModel

__all__ = ["NNModelReader", "NNModelWriter"]


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
