"""NNModel: a bundle as a Spark ML transformer. One bad row costs one row."""

import atexit
import json
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, cast
from weakref import WeakKeyDictionary

import pandas as pd
import pyarrow as pa
from pyspark import SparkFiles
from pyspark.ml import Model
from pyspark.ml.util import MLReadable, MLWritable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import arrow_udf
from safetensors.torch import save as save_tensors
from torch import Tensor

from hilum import storage
from hilum.errors import HilumError, InvalidValueError, RejectedImageError, require
from hilum.inference import ModelBundle, Prediction, Predictor, load_bundle, save_bundle
from hilum.models.designs import NETWORK_FOLDER, design_to_json
from hilum.processor import keep_freed_memory
from hilum.spark.image_struct import grey_pixels
from hilum.spark.params import PredictParams
from hilum.spark.persistence import NNModelReader, NNModelWriter
from hilum.spark.worker_process import spare_the_collector
from hilum.training import History

__all__ = ["NNModel"]

_PREDICTED = pa.struct(
    [
        ("prediction", pa.list_(pa.float32())),
        ("ood_score", pa.float32()),
        ("error", pa.string()),
        ("present", pa.list_(pa.string())),
    ]
)
_PREDICTED_DDL = (
    "struct<prediction:array<float>,ood_score:float,error:string,present:array<string>>"
)


class NNModel(Model, PredictParams, MLReadable["NNModel"], MLWritable):
    """A trained network that adds probabilities to a DataFrame of images.

    Output columns: `predictionCol` array<float>, one probability per name of `findings`, in
    order, calibrated where the bundle holds a calibration; `oodScoreCol` float, above 1 where the
    image is unlike the training radiographs, null in models without that score; `errorCol` string,
    a reason code where the image is null or unusable (the others are then null);
    `predictedFindingsCol` array<string>, the findings called present at the bundle's default
    operating point, null where it has none. They are computed only if used, and the network is
    loaded once per Python worker.
    """

    def __init__(self, bundle: ModelBundle | None = None, history: History | None = None) -> None:
        super().__init__()
        self._bundle = bundle
        self._history = history

    @staticmethod
    def from_bundle(url: str) -> "NNModel":
        """A transformer from a bundle directory."""
        return NNModel(load_bundle(url))

    @property
    def bundle(self) -> ModelBundle:
        """The model itself, usable without Spark."""
        if self._bundle is None:
            raise InvalidValueError(
                "NNModel must hold a bundle. Got none. "
                "Hint: NNEstimator(...).fit(data), NNModel.load(path) or NNModel.from_bundle(path)."
            )
        return self._bundle

    @property
    def findings(self) -> tuple[str, ...]:
        """Names of the prediction's elements, in order."""
        return self.bundle.findings

    @property
    def history(self) -> History:
        """Training history, epoch by epoch; empty for a loaded model."""
        return self._history or History()

    @property
    def summary(self) -> pd.DataFrame:
        """Training as a table: a row per validation, the AUC of each finding in its own column."""
        return self.history.to_pandas(self.findings)

    def setFeaturesCol(self, value: str) -> "NNModel":
        """Name of the image column."""
        return self._set(featuresCol=value)

    def setPredictionCol(self, value: str) -> "NNModel":
        """Name of the probability column."""
        return self._set(predictionCol=value)

    def setOodScoreCol(self, value: str) -> "NNModel":
        """Name of the column of out-of-distribution scores."""
        return self._set(oodScoreCol=value)

    def setErrorCol(self, value: str) -> "NNModel":
        """Name of the column that says why a row has no prediction."""
        return self._set(errorCol=value)

    def setPredictedFindingsCol(self, value: str) -> "NNModel":
        """Name of the column of findings called present."""
        return self._set(predictedFindingsCol=value)

    def setPredictBatchSize(self, value: int) -> "NNModel":
        """Images per forward pass."""
        require(value > 0, "predictBatchSize", "positive", value)
        return self._set(predictBatchSize=value)

    def write(self) -> NNModelWriter:
        """A writer; `.overwrite().save(path)`."""
        return NNModelWriter(self)

    @classmethod
    def read(cls) -> NNModelReader:
        """A reader; `.load(path)`."""
        return NNModelReader(cls)

    def _transform(self, dataset: DataFrame) -> DataFrame:
        _check_image_column(dataset, self.getFeaturesCol())
        name = _share(dataset.sparkSession, self.bundle)
        batches = _PredictBatches(name=name, batch_size=self.getPredictBatchSize())
        predict = cast(Any, arrow_udf)(_as_udf(batches), _PREDICTED_DDL).asNondeterministic()
        together = dataset.withColumn("_hilum_predicted", predict(self.getFeaturesCol()))
        return (
            together.withColumn(self.getPredictionCol(), F.col("_hilum_predicted.prediction"))
            .withColumn(self.getOodScoreCol(), F.col("_hilum_predicted.ood_score"))
            .withColumn(self.getErrorCol(), F.col("_hilum_predicted.error"))
            .withColumn(self.getPredictedFindingsCol(), F.col("_hilum_predicted.present"))
            .drop("_hilum_predicted")
        )


def _check_image_column(dataset: DataFrame, column: str) -> None:
    require(
        column in dataset.columns, "featuresCol", f"one of {', '.join(dataset.columns)}", column
    )
    kind = dataset.schema[column].dataType
    fields = set(getattr(kind, "names", []))
    require(
        {"height", "width", "nChannels", "data"} <= fields,
        "featuresCol",
        "a column of Spark image structs (origin, height, width, nChannels, mode, data)",
        f"{column}: {kind.simpleString()}",
        hint="read_radiographs(...) and spark.read.format('image') make one",
    )


def _share(spark: SparkSession, bundle: ModelBundle) -> str:
    """Send the bundle to all executors once per session; returns the name it has there.

    A file and not a closure, because Spark would unpickle a closure of the weights' size for
    every task. Executors fetch the file when they first need it, so it stays until we exit.
    """
    digest = storage.sha256_of(save_tensors({n: t.contiguous() for n, t in bundle.weights.items()}))
    chain, rules = bundle.preprocessing, bundle.decision_rules
    network = bundle.design and design_to_json(bundle.design)
    manifest = repr((bundle.architecture, network, bundle.findings, chain, bundle.dropout, rules))
    outliers = bundle.outliers.to_arrays() if bundle.outliers else {}
    manifest += "".join(storage.sha256_of(array.tobytes()) for array in outliers.values())
    name = f"hilum-{digest[:16]}{storage.sha256_of(manifest.encode())[:8]}"
    sent = _sent.setdefault(spark, set())
    if name not in sent:
        directory = Path(tempfile.mkdtemp(prefix="hilum-share-"))
        atexit.register(shutil.rmtree, directory, ignore_errors=True)
        save_bundle(bundle, str(directory))
        for file in [path for path in sorted(directory.rglob("*")) if path.is_file()]:
            flat = _sent_name(name, file.relative_to(directory))
            spark.addArtifacts(str(file.rename(directory / flat)), file=True)
        sent.add(name)
    return name


def _sent_name(name: str, file: Path) -> str:
    """What a file of a bundle is called among those of the session, which lie in one folder."""
    return "-".join((name, *file.parts))


# Spark refuses a second file of the same name from another place, so we remember.
_sent: WeakKeyDictionary[SparkSession, set[str]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class _PredictBatches:
    """The UDF's work: image structs in, `_PREDICTED` structs out, Arrow batch by Arrow batch."""

    name: str
    batch_size: int

    def __call__(self, batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
        predictor = _predictor(self.name, self.batch_size)
        spare_the_collector()
        # Forward passes are cut by count, across Arrow batches; so results are counted back into
        # batches by the lists of errors (None: a prediction is due), one list per Arrow batch.
        errors: deque[list[str | None]] = deque()
        ready: deque[Prediction] = deque()
        predictions = predictor.predictions_prepared(_prepared(predictor, batches, errors))
        while True:
            if not errors:  # asking for one more prediction reads the next Arrow batches
                ready.extend(islice(predictions, 1))
                if not errors:
                    return
            rows = []
            for error in errors.popleft():
                row: dict[str, Any] = dict.fromkeys(("prediction", "ood_score", "present"))
                row["error"] = error
                if error is None:
                    probabilities, ood_score = ready.popleft() if ready else next(predictions)
                    row |= {"prediction": probabilities, "ood_score": ood_score}
                    row["present"] = predictor.present(probabilities)
                rows.append(row)
            yield pa.array(rows, type=_PREDICTED)


def _prepared(
    predictor: Predictor, batches: Iterator[pa.Array], errors: deque[list[str | None]]
) -> Iterator[Tensor]:
    for batch in batches:
        tensors: list[Tensor] = []
        batch_errors: list[str | None] = []
        for image in batch.to_pylist():
            try:
                if image is None:
                    raise RejectedImageError("no_image")
                tensors.append(predictor.prepare(grey_pixels(image)))
                batch_errors.append(None)
            except HilumError as error:
                batch_errors.append(getattr(error, "reason", None) or str(error))
        errors.append(batch_errors)
        yield from tensors


@lru_cache(maxsize=1)  # one network per Python worker; another model replaces it
def _predictor(name: str, batch_size: int) -> Predictor:
    with tempfile.TemporaryDirectory(prefix="hilum-bundle-") as directory:
        manifest = json.loads(Path(SparkFiles.get(f"{name}-manifest.json")).read_bytes())
        own = (manifest["network"] or {}).get("files", {})
        files = ("manifest.json", "weights.safetensors", "outliers.safetensors")
        (Path(directory) / NETWORK_FOLDER).mkdir()
        for file in map(Path, (*files, *(f"{NETWORK_FOLDER}/{one}" for one in own))):
            sent = Path(SparkFiles.get(_sent_name(name, file)))
            if sent.exists():  # not every bundle has outliers
                (Path(directory) / file).symlink_to(sent)
        keep_freed_memory()
        return Predictor.load(load_bundle(directory), batch_size=batch_size)


def _as_udf(batches: _PredictBatches) -> Callable[[Iterator[pa.Array]], Iterator[pa.Array]]:
    def predict_images(images: Iterator[pa.Array]) -> Iterator[pa.Array]:
        return batches(images)

    return predict_images
