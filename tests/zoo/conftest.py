"""A small data set, and what a script of 2019 says to train on it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from hilum import zoo
from image_files import png, write_files


@dataclass(frozen=True)
class Small:
    """24 pictures whose first label is their brightness, and one broken file."""

    folder: Path
    data: DataFrame


def drawn(number: int, bright: bool) -> np.ndarray:
    pixels = np.random.default_rng(number).integers(0, 90, (20, 24), np.uint8)
    return pixels + np.uint8(140 * bright)


@pytest.fixture(scope="session")
def small(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Small:
    names = {f"{number:02d}.png": float(number % 2) for number in range(24)}
    files = {name: png(drawn(int(name[:2]), bright > 0)) for name, bright in names.items()}
    folder = write_files(tmp_path_factory.mktemp("zoo"), files | {"broken.png": b"no image"})
    images = zoo.NNImageReader.readImages(
        str(folder), spark.sparkContext, resizeH=16, resizeW=16, image_codec=1
    )
    rows = [(name, [bright, 1.0 - bright]) for name, bright in names.items()]
    labels = spark.createDataFrame(rows, "name string, label array<double>")
    named = images.withColumn("name", F.element_at(F.split("image.origin", "/"), -1))
    return Small(folder, named.join(labels, "name"))


@pytest.fixture
def model() -> zoo.Model:
    """A network of 16 x 12 grey pixels."""
    image = zoo.Input((1, 16, 12))
    value = zoo.Convolution2D(4, 3, 3, activation="relu", name="conv")(image)
    value = zoo.Dropout(0.25)(zoo.GlobalAveragePooling2D()(value))
    head = zoo.Dense(
        2,
        activation="sigmoid",
        W_regularizer=zoo.L2Regularizer(0.1),
        b_regularizer=zoo.L2Regularizer(0.1),
    )
    return zoo.Model(image, head(value))


@pytest.fixture
def transformer() -> zoo.ChainedPreprocessing:
    return zoo.ChainedPreprocessing(
        [
            zoo.RowToImageFeature(),
            zoo.ImageCenterCrop(12, 16),
            zoo.ImageRandomPreprocessing(zoo.ImageHFlip(), 0.5),
            zoo.ImageChannelNormalize(100, 100, 100, 50, 50, 50),
            zoo.ImageMatToTensor(),
            zoo.ImageFeatureToTensor(),
        ]
    )
