"""One tiny data set and one trained pipeline, shared by all tests that need a model."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from pyspark.ml import Pipeline, PipelineModel
from pyspark.sql import DataFrame, SparkSession

from hilum.spark import NNEstimator, NNModel, read_radiographs
from image_files import picture, png, write_files

FINDINGS = ["Bright", "Left"]
BROKEN = ("cut.png", "text.png")


@dataclass(frozen=True)
class Trained:
    """A pipeline trained on 26 pictures; two further files are broken.

    `pixels` holds what was drawn, by file name.
    """

    folder: Path
    run: Path
    pixels: dict[str, np.ndarray]
    data: DataFrame
    estimator: NNEstimator
    pipeline: PipelineModel

    @property
    def model(self) -> NNModel:
        return self.pipeline.stages[0]


def drawn(number: int, labels: list[float]) -> np.ndarray:
    """A picture that shows its labels: overall brightness, and a bright left half."""
    pixels = picture(number, 40, 36) // 4
    pixels += np.uint8(100 * labels[0])
    pixels[:, :18] += np.uint8(80 * labels[1])
    return pixels


@pytest.fixture(scope="session")
def trained(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    root = tmp_path_factory.mktemp("trained")
    labels = {f"{i:02d}.png": [float(i % 2), float(i // 2 % 2)] for i in range(26)}
    pixels = {name: drawn(i, labels[name]) for i, name in enumerate(labels)}
    files = {name: png(image) for name, image in pixels.items()}
    files |= {"cut.png": files["00.png"][:200], "text.png": b"no image"}
    folder = write_files(root / "images", files)
    splits = ("train", "train", "train", "train", "valid", "valid", "test")
    rows = [
        (name, labels.get(name, [0.0, 1.0]), splits[i % len(splits)])
        for i, name in enumerate(sorted(files))
    ]
    rows[3] = (rows[3][0], [None, rows[3][1][1]], rows[3][2])
    table = spark.createDataFrame(rows, "file_name string, labels array<float>, split string")
    data = read_radiographs(spark, str(folder)).join(table, "file_name")
    estimator = NNEstimator(
        model="timm:test_resnet",
        weights="random",
        findings=FINDINGS,
        splitCol="split",
        imageSize=32,
        maxEpochs=2,
        batchSize=7,
        precision="float32",
        runDir=str(root / "run"),
        showProgress=False,
    )
    pipeline = Pipeline(stages=[estimator]).fit(data)
    return Trained(folder, root / "run", pixels, data, estimator, pipeline)
