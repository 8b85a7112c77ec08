"""Chest X-ray inference in the form of the public notebook of 2019, on today's engine.

Load what the training script saved, read one image, predict, print each disease with its label.

    python examples/chest_xray_inference.py MODEL.bigdl --image FILE --labels Data_Entry_2017.csv
"""

import argparse

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.functions import col, udf
from pyspark.sql.types import ArrayType, DoubleType, StringType

from hilum.zoo.common.nncontext import create_spark_conf, init_nncontext, os
from hilum.zoo.feature.common import ChainedPreprocessing
from hilum.zoo.feature.image import (
    ImageCenterCrop,
    ImageChannelNormalize,
    ImageFeatureToTensor,
    ImageMatToTensor,
    RowToImageFeature,
)
from hilum.zoo.pipeline.api.net import Net
from hilum.zoo.pipeline.nnframes import NNImageReader, NNModel

DISEASES = [
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia",
    "Pneumothorax", "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening",
    "Hernia",
]  # fmt: skip


def get_options() -> argparse.Namespace:
    """What the notebook had in its cells."""
    parser = argparse.ArgumentParser(description="Predict diseases in a chest X-ray as in 2019.")
    parser.add_argument("model", help="what the training script saved")
    parser.add_argument("--image", required=True, help="file, folder or glob")
    parser.add_argument("--labels", required=True, help="NIH's Data_Entry table")
    parser.add_argument("--read", type=int, default=256, help="side to resize to while reading")
    parser.add_argument("--crop", type=int, default=224, help="side that the network sees")
    parser.add_argument("--master", help="Spark master; none: one executor on this machine")
    return parser.parse_args()


def text_to_label(text: str) -> list[float]:
    """Fourteen zeros and ones."""
    found = text.split("|")
    return [1.0 if name in found else 0.0 for name in DISEASES]


def predict(options: argparse.Namespace, spark: SparkSession) -> DataFrame:
    """The image with its label and its prediction."""
    trained_model = Net.load(options.model, options.model.replace(".bigdl", ".bin"))
    get_label = udf(lambda text: text_to_label(text), ArrayType(DoubleType()))
    get_name = udf(lambda row: os.path.basename(row[0]), StringType())
    images = NNImageReader.readImages(
        options.image,
        spark.sparkContext,
        resizeH=options.read,
        resizeW=options.read,
        image_codec=1,
    ).withColumn("Image_Index", get_name(col("image")))
    labels = (
        spark.read.load(options.labels, format="csv", sep=",", inferSchema="true", header="true")
        .withColumnRenamed("Image Index", "Image_Index")
        .withColumnRenamed("Finding Labels", "Finding_Labels")
        .select("Image_Index", "Finding_Labels")
        .withColumn("label", get_label(col("Finding_Labels")))
    )
    transformer = ChainedPreprocessing(
        [
            RowToImageFeature(),
            ImageCenterCrop(options.crop, options.crop),
            ImageChannelNormalize(123.68, 116.779, 103.939),
            ImageMatToTensor(),
            ImageFeatureToTensor(),
        ]
    )
    classifier_model = NNModel(trained_model, transformer).setFeaturesCol("image").setBatchSize(1)
    return classifier_model.transform(images.join(labels, on="Image_Index", how="inner"))


def main() -> None:
    """Predict and print."""
    options = get_options()
    conf = create_spark_conf().setAppName("ChestXray_Inference")
    if options.master:
        conf.setMaster(options.master)
    init_nncontext(conf)
    spark = SparkSession.builder.config(conf=conf).getOrCreate()
    row = predict(options, spark).collect()[0]
    line = "{:<25} - {:<25} - {:<15}"
    print(line.format("Finding_Labels", "Prediction", "Label"))
    print(line.format("-" * 14, "-" * 10, "-" * 5))
    for name, probability, label in zip(DISEASES, row.prediction, row.label, strict=True):
        print(line.format(name, probability, label))


if __name__ == "__main__":
    main()
