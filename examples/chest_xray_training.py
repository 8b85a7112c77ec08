"""Chest X-ray training in the form of the public notebook of 2019, on today's engine.

The calls and their order are those of the 2019 system (white paper H17686): read images, join
labels, split, load a network and cut it at pool5, add a head, Adam with warm-up and plateau, train
with validation, print the AUC of each disease, save. Only import lines have another prefix.

    python examples/chest_xray_training.py --images DIR --labels Data_Entry_2017.csv --save DIR
"""

import argparse
import time
from math import ceil

from pyspark.ml.evaluation import BinaryClassificationEvaluator
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.functions import col, udf
from pyspark.sql.types import ArrayType, DoubleType, StringType
from pyspark.storagelevel import StorageLevel

from hilum.zoo.bigdl.optim.optimizer import (
    EveryEpoch,
    L2Regularizer,
    Plateau,
    SequentialSchedule,
    SeveralIteration,
    TrainSummary,
    ValidationSummary,
    Warmup,
)
from hilum.zoo.common.nncontext import create_spark_conf, init_nncontext, os
from hilum.zoo.feature.common import ChainedPreprocessing
from hilum.zoo.feature.image.imagePreprocessing import (
    ImageBrightness,
    ImageCenterCrop,
    ImageChannelNormalize,
    ImageFeatureToTensor,
    ImageHFlip,
    ImageMatToTensor,
    ImageRandomPreprocessing,
    RowToImageFeature,
)
from hilum.zoo.pipeline.api.keras.layers import Dense, Dropout, GlobalAveragePooling2D, Input
from hilum.zoo.pipeline.api.keras.metrics import AUC
from hilum.zoo.pipeline.api.keras.models import Model
from hilum.zoo.pipeline.api.keras.objectives import BinaryCrossEntropy
from hilum.zoo.pipeline.api.keras.optimizers import Adam
from hilum.zoo.pipeline.api.net import Net
from hilum.zoo.pipeline.nnframes import NNEstimator, NNImageReader, NNModel

DISEASES = [
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia",
    "Pneumothorax", "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening",
    "Hernia",
]  # fmt: skip
WARMUP_EPOCHS = 5


def get_options() -> argparse.Namespace:
    """What the notebook had in its cells."""
    parser = argparse.ArgumentParser(description="Train on chest X-rays as in 2019.")
    parser.add_argument("--images", required=True, help="folder of images")
    parser.add_argument("--labels", required=True, help="NIH's Data_Entry table")
    parser.add_argument("--save", required=True, help="folder for the model")
    parser.add_argument("--model", default="resnet50", help="a model file, or a topology's name")
    parser.add_argument("--weights", help="second file of the model; for a name: auto, random")
    parser.add_argument("--cut", default="pool5", help="node that the new head reads")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--read", type=int, default=256, help="side to resize to while reading")
    parser.add_argument("--crop", type=int, default=224, help="side that the network sees")
    parser.add_argument("--master", help="Spark master; none: one executor on this machine")
    return parser.parse_args()


def get_model(options: argparse.Namespace) -> Model:
    """A trained network, cut, with a new head for the diseases."""
    full_model = Net.load_bigdl(options.model, options.weights)
    model = full_model.new_graph([options.cut])
    input_node = Input(name="input", shape=(3, options.crop, options.crop))
    network = model.to_keras()(input_node)
    features = GlobalAveragePooling2D(dim_ordering="th")(network)
    dropout = Dropout(0.2)(features)
    head = Dense(
        len(DISEASES),
        W_regularizer=L2Regularizer(1e-1),
        b_regularizer=L2Regularizer(1e-1),
        activation="sigmoid",
    )(dropout)
    return Model(input_node, head)


def get_optim_method(epochs: int, count: int, batch: int) -> Adam:
    """Adam whose rate rises for five epochs and then falls when the loss stops falling."""
    per_epoch = ceil(count / batch)
    warmup = WARMUP_EPOCHS * per_epoch
    first, highest = 1e-7, 1e-4
    schedule = SequentialSchedule(per_epoch)
    schedule.add(Warmup((highest - first) / warmup), warmup)
    schedule.add(
        Plateau("Loss", factor=0.1, patience=1, mode="min", epsilon=0.01, min_lr=1e-15),
        max(1, epochs - WARMUP_EPOCHS) * per_epoch,
    )
    return Adam(lr=first, schedule=schedule)


def get_data(options: argparse.Namespace, spark: SparkSession) -> DataFrame:
    """Images with their labels, fourteen zeros and ones each."""
    place = {name: number for number, name in enumerate(DISEASES)}

    def text_to_label(text: str) -> list[float]:
        label = [0.0] * len(DISEASES)
        for name in text.split("|"):
            if name != "No Finding":
                label[place[name]] = 1.0
        return label

    get_label = udf(lambda text: text_to_label(text), ArrayType(DoubleType()))
    get_name = udf(lambda row: os.path.basename(row[0]), StringType())
    images = NNImageReader.readImages(
        options.images,
        spark.sparkContext,
        resizeH=options.read,
        resizeW=options.read,
        image_codec=1,
    ).withColumn("Image_Index", get_name(col("image")))
    labels = (
        spark.read.load(options.labels, format="csv", sep=",", inferSchema="true", header="true")
        .select("Image Index", "Finding Labels")
        .withColumn("label", get_label(col("Finding Labels")))
        .withColumnRenamed("Image Index", "Image_Index")
    )
    return images.join(labels, on="Image_Index", how="inner").withColumnRenamed(
        "Finding Labels", "Finding_Labels"
    )


def get_auc(number: int, scored: DataFrame) -> float:
    """The area under the ROC curve of one disease."""
    pick = udf(lambda values: float(values[number]), DoubleType())
    pairs = scored.select(
        pick(col("label")).alias("kth_label"), pick(col("prediction")).alias("kth_prediction")
    )
    return float(
        BinaryClassificationEvaluator(
            rawPredictionCol="kth_prediction", labelCol="kth_label", metricName="areaUnderROC"
        ).evaluate(pairs)
    )


def evaluate(model: NNModel, data: DataFrame) -> None:
    """Print the AUC of each disease, and their mean."""
    scored = model.transform(data).persist(storageLevel=StorageLevel.DISK_ONLY)
    total = 0.0
    for number, name in enumerate(DISEASES):
        auc = get_auc(number, scored)
        total += auc
        print(f"{'ROC score for ':>12} {name:>25} {' is: ':>5} {auc:<20}")
    print("Average AUC: ", total / len(DISEASES))
    scored.unpersist()


def main() -> None:
    """Train, evaluate and save."""
    options = get_options()
    conf = create_spark_conf().setAppName("Chest X-ray Training")
    if options.master:
        conf.setMaster(options.master)
    sc = init_nncontext(conf)
    spark = SparkSession.builder.config(conf=conf).getOrCreate()

    # The driver is counted, too; with a local master it is the executor.
    executors = max(1, len(sc._jsc.sc().statusTracker().getExecutorInfos()) - 1)
    cores = int(sc.getConf().get("spark.executor.cores", "1"))
    print("Number of Executors = ", executors)
    print("Number of Cores = ", cores)
    fits = options.batch % (executors * cores) == 0
    print("Batch Size = ", options.batch, "" if fits else "(no multiple; any size will do)")

    data = get_data(options, spark)
    training, validation = data.randomSplit([0.7, 0.3], seed=1234)
    count = training.count()
    print("Number of training images: ", count)
    print("Number of validation images: ", validation.count())

    model = get_model(options)
    optim_method = get_optim_method(options.epochs, count, options.batch)
    transformer = ChainedPreprocessing(
        [
            RowToImageFeature(),
            ImageCenterCrop(options.crop, options.crop),
            ImageRandomPreprocessing(ImageHFlip(), 0.5),
            ImageRandomPreprocessing(ImageBrightness(0.0, 32.0), 0.5),
            ImageChannelNormalize(123.68, 116.779, 103.939),
            ImageMatToTensor(),
            ImageFeatureToTensor(),
        ]
    )
    logs = os.path.join(options.save, "xray_save_summary")
    train_summary = TrainSummary(log_dir=logs, app_name="Chest X-ray Training")
    val_summary = ValidationSummary(log_dir=logs, app_name="Chest X-ray Training")
    train_summary.set_summary_trigger("LearningRate", SeveralIteration(50))
    train_summary.set_summary_trigger("Loss", SeveralIteration(50))

    classifier = (
        NNEstimator(model, BinaryCrossEntropy(), transformer)
        .setBatchSize(options.batch)
        .setMaxEpoch(options.epochs)
        .setFeaturesCol("image")
        .setCachingSample(False)
        .setValidation(EveryEpoch(), validation, [AUC()], options.batch)
        .setTrainSummary(train_summary)
        .setValidationSummary(val_summary)
        .setOptimMethod(optim_method)
    )
    nn_model = classifier.fit(training)

    print("Evaluating the model on validation data:")
    evaluate(nn_model, validation)

    stamp = time.strftime("%Y_%m_%d_%H_%M_%S", time.localtime())
    path = os.path.join(options.save, f"xray_model_{stamp}")
    nn_model.model.saveModel(path + ".bigdl", path + ".bin", True)
    print("Model saved at: ", path)


if __name__ == "__main__":
    main()
