"""The parameters that say how a run goes: how long, on what, what it writes and when."""

from typing import Any

from pyspark.ml.param import Params, TypeConverters

from hilum.spark.param_texts import declare, to_every_text

__all__ = ["RunParams"]


class RunParams(Params):
    """How a run goes."""

    maxEpochs = declare("maxEpochs", "passes over the training split, > 0", TypeConverters.toInt)
    maxSteps = declare(
        "maxSteps", "optimizer steps after which the run ends; 0: no limit", TypeConverters.toInt
    )
    maxMinutes = declare(
        "maxMinutes",
        "minutes of training after which the run ends, over all restarts; 0: no limit",
        TypeConverters.toFloat,
    )
    targetValue = declare(
        "targetValue",
        "value of bestMetric that ends the run: a loss at most, an AUC at least; 0: none",
        TypeConverters.toFloat,
    )
    stopPatience = declare(
        "stopPatience",
        "validations in a row without a better bestMetric after which the run ends; 0: no limit",
        TypeConverters.toInt,
    )
    stopMinDelta = declare(
        "stopMinDelta",
        "by how much bestMetric must be better to count, >= 0",
        TypeConverters.toFloat,
    )
    batchSize = declare(
        "batchSize",
        "images per optimizer step over all ranks (the global batch), > 0; any size is legal",
        TypeConverters.toInt,
    )
    bestMetric = declare(
        "bestMetric",
        "which validation's weights become the model: those of the lowest valid_loss, or of the "
        "highest valid_mean_auroc (noisy where the validation split holds few positives)",
        TypeConverters.toString,
    )
    validateEvery = declare(
        "validateEvery",
        'when to validate: "epoch", "500 steps", "10 minutes"; always at the end',
        to_every_text,
    )
    checkpointEvery = declare(
        "checkpointEvery", "when to write a restart point, likewise", to_every_text
    )
    summariseEvery = declare(
        "summariseEvery", "when to record loss, throughput and learning rate", to_every_text
    )
    keepCheckpoints = declare(
        "keepCheckpoints", "restart points kept besides the best, > 0", TypeConverters.toInt
    )
    histograms = declare(
        "histograms", "record histograms of the parameters, too", TypeConverters.toBoolean
    )
    mlflow = declare(
        "mlflow",
        "address of an MLflow tracking server to log the run to; empty: none",
        TypeConverters.toString,
    )
    precision = declare(
        "precision",
        "float32, bfloat16, or auto (bfloat16 where the hardware has it)",
        TypeConverters.toString,
    )
    compile = declare("compile", "run the network through torch.compile", TypeConverters.toBoolean)
    gradientCompression = declare(
        "gradientCompression",
        "what gradients are rounded to on their way between ranks: none or bfloat16",
        TypeConverters.toString,
    )
    placement = declare(
        "placement",
        "whole (every host has all images) or part (a share that changes every epoch, for data "
        "larger than a host's disk)",
        TypeConverters.toString,
    )
    numRanks = declare(
        "numRanks",
        "training processes; 0: one per executor, with all its cores",
        TypeConverters.toInt,
    )
    maxRetries = declare(
        "maxRetries",
        "times a run goes on from its last checkpoint after losing a rank without having got "
        "further in between; 0: none",
        TypeConverters.toInt,
    )
    hangTimeout = declare(
        "hangTimeout",
        "seconds after which a rank that no longer moves counts as lost, > 0",
        TypeConverters.toFloat,
    )
    executorWait = declare(
        "executorWait",
        "seconds that a lost executor may take to come back before the run goes on with fewer "
        "ranks, >= 0",
        TypeConverters.toFloat,
    )
    runDir = declare(
        "runDir",
        "directory for checkpoints, history and progress, shared by driver and executors; "
        "{run} in it becomes a name of its own for every fit; empty: a temporary one (single "
        "machine only)",
        TypeConverters.toString,
    )
    cacheDir = declare(
        "cacheDir",
        "directory of pixel caches, shared likewise; empty: inside runDir",
        TypeConverters.toString,
    )
    showProgress = declare("showProgress", "show live progress on stderr", TypeConverters.toBoolean)

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._setDefault(
            maxEpochs=8,
            maxSteps=0,
            maxMinutes=0.0,
            targetValue=0.0,
            stopPatience=0,
            stopMinDelta=0.0,
            batchSize=16,
            bestMetric="valid_loss",
            validateEvery="epoch",
            checkpointEvery="epoch",
            summariseEvery="20 steps",
            keepCheckpoints=2,
            histograms=False,
            mlflow="",
            precision="auto",
            compile=False,
            gradientCompression="none",
            placement="whole",
            numRanks=0,
            maxRetries=3,
            hangTimeout=300.0,
            executorWait=60.0,
            runDir="",
            cacheDir="",
            showProgress=True,
        )
