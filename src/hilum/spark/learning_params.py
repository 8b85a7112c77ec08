"""The parameters that say how a network learns: optimizer, schedule, loss, freezing."""

from typing import Any

from pyspark.ml.param import Params, TypeConverters

from hilum.spark.param_texts import (
    declare,
    to_layer_rule_texts,
    to_loss_text,
    to_schedule_text,
    to_unfreeze_texts,
    to_weights_text,
)

__all__ = ["LearningParams"]


class LearningParams(Params):
    """How a network learns."""

    learningRate = declare(
        "learningRate",
        "peak learning rate, reached after warm-up; never scaled silently, > 0",
        TypeConverters.toFloat,
    )
    warmupEpochs = declare(
        "warmupEpochs",
        "epochs of linear warm-up before the schedule, >= 0",
        TypeConverters.toFloat,
    )
    schedule = declare(
        "schedule",
        "after warm-up: cosine (down to 0 at the end of the run), plateau (a tenth whenever "
        "watchedMetric has not improved for two measurements), plateau_2019, constant, step, "
        "multistep, polynomial, exponential, one_cycle, paper (the last two bring their own "
        "warm-up, paper also its peak); or any hilum.optim schedule, or its JSON",
        to_schedule_text,
    )
    watchedMetric = declare(
        "watchedMetric",
        "what plateau schedules watch: valid_loss, train_loss or valid_mean_auroc",
        TypeConverters.toString,
    )
    optimizer = declare(
        "optimizer", "adam, adamw, sgd, lars or lamb (for large batches)", TypeConverters.toString
    )
    momentum = declare("momentum", "of sgd and lars, in [0, 1)", TypeConverters.toFloat)
    nesterov = declare("nesterov", "Nesterov momentum, of sgd and lars", TypeConverters.toBoolean)
    dampening = declare(
        "dampening",
        "share of each new gradient that the momentum of sgd and lars leaves out, in [0, 1]",
        TypeConverters.toFloat,
    )
    betas = declare(
        "betas",
        "decay of the two moments of adam, adamw and lamb, each in [0, 1)",
        TypeConverters.toListFloat,
    )
    trustCoefficient = declare(
        "trustCoefficient",
        "of lars: share of its weights' norm that a layer may move by at learning rate 1, > 0",
        TypeConverters.toFloat,
    )
    weightDecay = declare(
        "weightDecay",
        "weight decay of the backbone's weights; biases and norms have none, >= 0",
        TypeConverters.toFloat,
    )
    headWeightDecay = declare(
        "headWeightDecay", "weight decay of the new head, >= 0", TypeConverters.toFloat
    )
    decayNormsAndBiases = declare(
        "decayNormsAndBiases",
        "weight decay for biases and norms, too, as in the 2019 paper",
        TypeConverters.toBoolean,
    )
    headLearningRateFactor = declare(
        "headLearningRateFactor",
        "learning rate of the new head over that of the backbone, > 0; "
        "0: 10 where the backbone starts trained, 1 where it starts random or is frozen",
        TypeConverters.toFloat,
    )
    layerDecay = declare(
        "layerDecay",
        "learning rate of a block of the backbone over that of the block after it, in (0, 1]",
        TypeConverters.toFloat,
    )
    layerRules = declare(
        "layerRules",
        "learning rate and weight decay of layers by name: hilum.optim.LayerRule, or texts such as "
        '"layer4.*:lr_factor=0.1,weight_decay=0"; the first that matches counts',
        to_layer_rule_texts,
    )
    clipValue = declare(
        "clipValue",
        "largest absolute value of a gradient's element; 0: no limit",
        TypeConverters.toFloat,
    )
    clipNorm = declare(
        "clipNorm",
        "largest norm of all gradients together; 0: no limit",
        TypeConverters.toFloat,
    )
    loss = declare(
        "loss",
        "bce, focal, asymmetric, or any hilum.optim loss, or its JSON; cross_entropy, mse, l1, "
        "smooth_l1, huber, poisson, torch:NAME and functions marked with hilum.optim.loss_function "
        "where the network keeps its last layer; of several outputs a list of them, or a mapping "
        "from label columns to them or to pairs of one and its weight",
        to_loss_text,
    )
    labelSmoothing = declare(
        "labelSmoothing",
        "share of every label that is replaced by 1/2, in [0, 1)",
        TypeConverters.toFloat,
    )
    posWeight = declare(
        "posWeight",
        "factor on the positives of each finding, with loss bce: balanced (negatives per positive "
        "of the training split, at most 20), or a number per finding; empty: none",
        to_weights_text,
    )
    findingWeights = declare(
        "findingWeights",
        "weight of each finding in the loss: balanced (the rarer the larger), or a number per "
        "finding; empty: all the same",
        to_weights_text,
    )
    dropout = declare("dropout", "dropout before the head, in [0, 1)", TypeConverters.toFloat)
    batchNorm = declare(
        "batchNorm",
        "batch (statistics per rank), frozen (scale, shift and statistics stay those of the start "
        "weights; the loss curve then does not depend on the number of ranks), or auto (frozen "
        "where the backbone starts trained or is frozen, batch where it starts random)",
        TypeConverters.toString,
    )
    emaDecay = declare(
        "emaDecay",
        "moving average of the weights, which then is what is validated and kept: share of the "
        "old average after each step, such as 0.999, in [0, 1); 0: none",
        TypeConverters.toFloat,
    )
    freeze = declare(
        "freeze",
        "backbone (train the head only), or the name of a layer: all up to and including it is "
        "frozen; empty: nothing is",
        TypeConverters.toString,
    )
    unfreeze = declare(
        "unfreeze",
        'from which epoch (from 0) on only what lies up to which layer is frozen: "2:layer3", '
        '"4:" for nothing, or pairs of both',
        to_unfreeze_texts,
    )
    featureVariants = declare(
        "featureVariants",
        "augmented variants of each image whose features behind a frozen part are kept, > 0",
        TypeConverters.toInt,
    )

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._setDefault(
            learningRate=3e-4,
            warmupEpochs=1.0,
            schedule="cosine",
            watchedMetric="valid_loss",
            optimizer="adamw",
            momentum=0.9,
            nesterov=False,
            dampening=0.0,
            betas=[0.9, 0.999],
            trustCoefficient=0.001,
            weightDecay=0.01,
            headWeightDecay=0.01,
            decayNormsAndBiases=False,
            headLearningRateFactor=0.0,
            layerDecay=1.0,
            layerRules=[],
            clipValue=0.0,
            clipNorm=0.0,
            loss="bce",
            labelSmoothing=0.0,
            posWeight="",
            findingWeights="",
            dropout=0.2,
            batchNorm="auto",
            emaDecay=0.0,
            freeze="",
            unfreeze=[],
            featureVariants=4,
        )
