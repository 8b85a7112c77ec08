"""Saving stages beside Spark's own metadata, so that pipelines save and load them.

PATH/metadata/      Spark ML's: class, uid, parameters; under `hilum` what must lie beside it
PATH/bundle/        of a model: hilum.inference bundle, usable without Spark as well
PATH/history.json   of a model: what its training measured
PATH/model/         of an estimator whose model is no name: how it is built, and its start weights

Spark writes the metadata wherever it takes PATH to be, so the rest goes where Spark says that the
metadata is: also from Spark Connect, and for relative paths and `hdfs:///` (decision 0046).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import unquote

from pyspark.ml.param import Params
from pyspark.ml.util import DefaultParamsReader, DefaultParamsWriter, MLReader, MLWriter
from pyspark.sql import SparkSession

from hilum import storage
from hilum.errors import InvalidValueError, require
from hilum.inference import bundle_versions, load_bundle, save_bundle
from hilum.spark.model_param import ModelValue, load_model_value, save_model_value
from hilum.spark.without_connector import connector_needed
from hilum.training import History

if TYPE_CHECKING:
    from hilum.spark.estimator import NNEstimator
    from hilum.spark.model import NNModel

__all__ = ["NNEstimatorReader", "NNEstimatorWriter", "NNModelReader", "NNModelWriter"]

Stage = TypeVar("Stage", bound=Params)

_BUNDLE, _HISTORY, _MODEL = "bundle", "history.json", "model"


class _StageWriter(MLWriter):
    """Writes metadata, then what lies beside it; all that may be refused is asked for first."""

    def __init__(self, instance: Params) -> None:
        super().__init__()
        self.instance = instance

    def beside(self) -> Mapping[str, Callable[[str], None]]:
        """What lies beside the metadata: by name, what writes it to a URL. Nothing is written."""
        raise NotImplementedError

    def values(self) -> dict[str, Any]:
        """Set parameters, as far as they are plain values."""
        return {param.name: value for param, value in self.instance._paramMap.items()}

    def save(self, path: str) -> None:
        """Write the stage; what is refused is refused before anything is overwritten.

        Raises:
            InvalidValueError: the stage cannot be saved, or Spark has no connector for `path`.
        """
        self.beside()
        with connector_needed(path):
            super().save(path)

    def saveImpl(self, path: str) -> None:
        """Write metadata, which says what must lie beside it, then that."""
        beside, spark = self.beside(), self.sparkSession
        about = {"version": bundle_versions()["hilum"], "beside": list(beside)}
        DefaultParamsWriter.saveMetadata(
            self.instance, path, spark, extraMetadata={"hilum": about}, paramMap=self.values()
        )
        root = _place(spark, path)
        require(
            storage.exists(storage.join(root, "metadata")),
            "path",
            "on storage that Spark and this process both reach",
            root,
            hint="Spark wrote the metadata on a disk of its own; name shared storage",
        )
        for name, write in beside.items():
            write(storage.join(root, name))

    def _handleOverwrite(self, path: str) -> None:
        if getattr(self.sparkSession, "_jsc", None) is not None:
            super()._handleOverwrite(path)
            return
        from pyspark.ml.connect.readwrite import RemoteMLWriter  # needs grpcio, so only here

        RemoteMLWriter.handleOverwrite(path, True)


class NNModelWriter(_StageWriter):
    """Writes an NNModel; `write().overwrite().save(path)` replaces what is there."""

    def beside(self) -> Mapping[str, Callable[[str], None]]:
        """History and bundle; the bundle's manifest comes last of all."""
        model = cast("NNModel", self.instance)
        bundle, history = model.bundle, model.history
        return {
            _HISTORY: lambda url: storage.write_json(url, history.to_json()),
            _BUNDLE: lambda url: save_bundle(bundle, url),
        }


class NNEstimatorWriter(_StageWriter):
    """Writes an NNEstimator; `write().overwrite().save(path)` replaces what is there."""

    def beside(self) -> Mapping[str, Callable[[str], None]]:
        """A model that is no name."""
        model: ModelValue = cast("NNEstimator", self.instance).getOrDefault("model")
        return {} if isinstance(model, str) else {_MODEL: lambda url: save_model_value(model, url)}

    def values(self) -> dict[str, Any]:
        """All but a model that is no name."""
        values = super().values()
        if not isinstance(values.get(_MODEL, ""), str):
            del values[_MODEL]
        return values


class NNModelReader(MLReader["NNModel"]):
    """Reads an NNModel that NNModelWriter wrote."""

    def __init__(self, cls: "type[NNModel]") -> None:
        super().__init__()
        self.cls = cls

    def load(self, path: str) -> "NNModel":
        """Read metadata, history and bundle.

        Raises:
            InvalidValueError: another kind of stage, or one that was not written to its end.
            ChecksumError: the weights are not those that were saved.
        """
        saved = _read(self.sparkSession, path, self.cls)
        history = History()
        if saved.has(_HISTORY):
            history = History.from_json(storage.read_json(saved.url(_HISTORY)))
        instance = self.cls(load_bundle(saved.url(_BUNDLE)), history=history)
        return saved.restored(instance)


class NNEstimatorReader(MLReader["NNEstimator"]):
    """Reads an NNEstimator that NNEstimatorWriter wrote."""

    def __init__(self, cls: "type[NNEstimator]") -> None:
        super().__init__()
        self.cls = cls

    def load(self, path: str) -> "NNEstimator":
        """Read metadata and model.

        Raises:
            InvalidValueError: another kind of stage, or one that was not written to its end.
            MissingDependencyError: the function that makes the model cannot be imported here.
        """
        saved = _read(self.sparkSession, path, self.cls)
        instance = saved.restored(self.cls())
        if saved.has(_MODEL):
            instance._set(model=_read_model(saved.url(_MODEL)))
        return instance


@dataclass(frozen=True, slots=True)
class _Saved:
    """Metadata, and the URL of the directory they lie in."""

    metadata: dict[str, Any]
    root: str

    def url(self, name: str) -> str:
        return storage.join(self.root, name)

    def has(self, name: str) -> bool:
        """Whether it lies beside; before version 0.2 metadata did not say, so we look."""
        if "hilum" in self.metadata:
            return name in self.metadata["hilum"]["beside"]
        return storage.exists(self.url(name))

    def restored(self, instance: Stage) -> Stage:
        instance._resetUid(self.metadata["uid"])
        DefaultParamsReader.getAndSetParams(cast(Any, instance), self.metadata)
        return instance


def _read(spark: SparkSession, path: str, cls: type) -> _Saved:
    """Metadata of a stage of this class, all that must lie beside it being there."""
    with connector_needed(path):
        root = _place(spark, path)
        saved = _Saved(DefaultParamsReader.loadMetadata(path, spark), root)
    wanted, found = f"{cls.__module__}.{cls.__name__}", saved.metadata["class"]
    hint = f"{found.rpartition('.')[2]}.load(path)"
    require(found == wanted, "path", f"a saved {wanted}", f"{found} in {path}", hint=hint)
    for name in saved.metadata.get("hilum", {}).get("beside", ()):
        require(storage.exists(saved.url(name)), *_broken(root, f"no {name}"), hint=_SAVE_AGAIN)
    return saved


def _read_model(url: str) -> ModelValue:
    try:
        model = load_model_value(url)
    except FileNotFoundError as error:
        raise InvalidValueError("{} must be {}. Got {!r}.".format(*_broken(url, error))) from error
    require(model is not None, *_broken(url, "nothing"), hint=_SAVE_AGAIN)
    return cast(ModelValue, model)


_SAVE_AGAIN = "saving broke off, or it was copied in part; save or copy it again"


def _broken(url: str, found: object) -> tuple[str, str, object]:
    return (url, "a stage that was saved to its end", found)


def _place(spark: SparkSession, path: str) -> str:
    """Where Spark takes a path to be: a local path, or a URL that names its host.

    From the one file of the metadata that lies there.
    """
    files = spark.read.text(storage.join(path, "metadata")).inputFiles()
    require(len(files) > 0, *_broken(path, "empty metadata"), hint=_SAVE_AGAIN)
    root = unquote(files[0].rpartition("/metadata/")[0])
    local = storage.local_path(root)
    return root if local is None else str(local)
