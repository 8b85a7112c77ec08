"""What parameters of training mean: each reaches the configuration, none is wrong in silence."""

import json
import math

import numpy as np
import pytest
from torch import nn

from hilum.errors import InvalidValueError
from hilum.models import WeightsReport
from hilum.optim import (
    AsymmetricLoss,
    BCEWithLogits,
    Clipping,
    Cosine,
    FocalLoss,
    LayerRule,
    OptimizerSpec,
    ReduceOnPlateau,
    schedule_to_json,
    simulate,
)
from hilum.spark import NNEstimator
from hilum.spark.param_texts import to_loss_text
from hilum.spark.settings import train_config
from hilum.training import Every, RetryPolicy, Stopping

pytestmark = pytest.mark.spark

TRAINED = WeightsReport(source="a file", kind="file")
UNTRAINED = WeightsReport(source="", kind="random")
FINDINGS = ["A", "B", "C"]


def labels_of(num_train):
    """One in four has A, one in ten B, one in a hundred C; the last label of A is unknown."""
    labels = np.zeros((num_train, 3), np.float32)
    for column, every in enumerate((4, 10, 100)):
        labels[::every, column] = 1
    labels[-1:, 0] = math.nan
    return labels


def config_of(start=TRAINED, num_train=100, **params):
    settings = NNEstimator(**{"findings": FINDINGS, **params}).settings()
    return train_config(settings, start, labels_of(num_train))


INVALID = {
    "maxEpochs": 0,
    "batchSize": -1,
    "learningRate": 0.0,
    "warmupEpochs": -1.0,
    "weightDecay": -0.1,
    "headWeightDecay": -0.1,
    "numRanks": -1,
    "imageSize": -5,
    "batchNorm": "sometimes",
    "dropout": 1.0,
    "precision": "float8",
    "optimizer": "adamax",
    "schedule": "sawtooth",
    "bestMetric": "f1",
    "watchedMetric": "accuracy",
    "headLearningRateFactor": -1.0,
    "model": "resnet51",
    "seed": -1,
    "momentum": 1.0,
    "dampening": 1.5,
    "trustCoefficient": 0.0,
    "layerDecay": 1.5,
    "clipValue": -1.0,
    "clipNorm": -1.0,
    "labelSmoothing": 1.0,
    "emaDecay": 1.0,
    "maxSteps": -1,
    "maxMinutes": -1.0,
    "stopPatience": -1,
    "stopMinDelta": -0.1,
    "keepCheckpoints": 0,
    "featureVariants": 0,
    "maxRetries": -1,
    "hangTimeout": 0.0,
    "executorWait": -1.0,
    "gradientCompression": "float8",
    "placement": "nowhere",
}


@pytest.mark.parametrize("name", INVALID)
def test_a_value_that_breaks_its_rule_is_refused_before_any_work(spark, name):
    with pytest.raises(InvalidValueError, match=name) as caught:
        NNEstimator(**{name: INVALID[name]}).settings()
    assert str(INVALID[name]) in str(caught.value)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"optimizer": "adamw", "momentum": 0.5}, "momentum must be 0 for adamw"),
        ({"optimizer": "sgd", "betas": [0.5, 0.5]}, "betas must be left alone for sgd"),
        ({"optimizer": "sgd", "trustCoefficient": 0.1}, "trust_coefficient must be left alone"),
        ({"optimizer": "sgd", "momentum": 0.0, "nesterov": True}, "nesterov must be False"),
        ({"loss": "focal", "posWeight": "balanced"}, "posWeight must be empty for focal"),
        ({"posWeight": [1.0, 2.0]}, "posWeight must be 14 numbers"),
        ({"findingWeights": "1,2"}, "findingWeights must be 14 numbers"),
        ({"unfreeze": [(3, "layer1"), (2, "")]}, "unfreeze must be"),
    ],
)
def test_values_that_do_not_go_together_are_refused(spark, params, message):
    with pytest.raises(InvalidValueError, match=message):
        NNEstimator(**params).settings()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"loss": "hinge"}, "loss must be one of bce"),
        ({"posWeight": "rare"}, "weights per finding must be"),
        ({"layerRules": ["layer4"]}, "a layer rule must be PATTERN"),
        ({"unfreeze": ["layer4"]}, "unfreeze must be made of EPOCH:LAYER"),
        ({"validateEvery": "fortnight"}, "a trigger must be like"),
        ({"checkpointEvery": "1.5 epochs"}, "a trigger must be like"),
        ({"summariseEvery": "0 steps"}, "steps must be positive"),
    ],
)
def test_text_that_means_nothing_is_refused_where_it_is_given(spark, params, message):
    with pytest.raises(InvalidValueError, match=message):
        NNEstimator(**params)


def test_every_setting_reaches_the_configuration_of_the_ranks(spark):
    config = config_of(
        optimizer="lars",
        momentum=0.8,
        nesterov=True,
        trustCoefficient=0.01,
        weightDecay=0.1,
        headWeightDecay=0.2,
        decayNormsAndBiases=True,
        layerDecay=0.7,
        layerRules=["layer4.*:lr_factor=0.1"],
        clipValue=0.5,
        clipNorm=1.0,
        emaDecay=0.99,
        maxSteps=7,
        maxMinutes=1.5,
        targetValue=0.1,
        stopPatience=3,
        stopMinDelta=0.01,
        watchedMetric="valid_mean_auroc",
        validateEvery="50 steps",
        checkpointEvery=Every(minutes=10),
        summariseEvery="2 epochs",
        keepCheckpoints=5,
        freeze="layer1",
        unfreeze=["2:"],
        featureVariants=2,
        gradientCompression="bfloat16",
        placement="part",
        compile=True,
        histograms=True,
    )
    assert config.optimizer == OptimizerSpec(
        name="lars",
        momentum=0.8,
        nesterov=True,
        trust_coefficient=0.01,
        weight_decay=0.1,
        head_weight_decay=0.2,
        decay_norms_and_biases=True,
        layer_decay=0.7,
        layer_rules=(LayerRule(pattern="layer4.*", lr_factor=0.1),),
        head_lr_factor=10.0,
    )
    assert config.clipping == Clipping(value=0.5, norm=1.0)
    assert config.stopping == Stopping(
        max_steps=7, max_minutes=1.5, target=0.1, patience=3, min_delta=0.01
    )
    assert (config.validate_every, config.checkpoint_every, config.summarise_every) == (
        Every(steps=50),
        Every(minutes=10),
        Every(epochs=2),
    )
    assert (config.freeze, config.unfreeze, config.feature_variants) == ("layer1", ((2, ""),), 2)
    assert (config.ema_decay, config.keep_checkpoints) == (0.99, 5)
    assert (config.watched_metric, config.gradient_compression) == ("valid_mean_auroc", "bfloat16")
    assert (config.placement, config.compile, config.histograms) == ("part", True, True)
    assert type(config).from_json(json.loads(json.dumps(config.to_json()))) == config


def test_what_happens_after_a_loss_is_set_beside_the_configuration(spark):
    retry = NNEstimator(maxRetries=5, hangTimeout=600, executorWait=0).settings().retry
    assert retry == RetryPolicy(max_retries=5, hang_timeout_s=600.0, executor_wait_s=0.0)


def test_sgd_has_momentum_and_adam_its_betas_unless_told_otherwise(spark):
    assert config_of(optimizer="sgd").optimizer.momentum == 0.9
    assert config_of(optimizer="sgd", momentum=0.0).optimizer.momentum == 0
    assert config_of(optimizer="lamb", betas=[0.8, 0.9]).optimizer.betas == (0.8, 0.9)


def test_batch_norm_is_frozen_where_the_backbone_starts_trained_unless_told_otherwise(spark):
    assert config_of(TRAINED).batch_norm == "frozen"
    assert config_of(UNTRAINED).batch_norm == "batch"
    assert config_of(UNTRAINED, freeze="backbone").batch_norm == "frozen"
    assert config_of(TRAINED, batchNorm="batch").batch_norm == "batch"
    assert config_of(TRAINED, freeze="backbone", batchNorm="batch").batch_norm == "batch"


def test_a_new_head_on_a_trained_backbone_learns_ten_times_as_fast_unless_told_otherwise(spark):
    assert config_of(TRAINED).optimizer.head_lr_factor == 10
    assert config_of(UNTRAINED).optimizer.head_lr_factor == 1
    assert config_of(TRAINED, freeze="backbone").optimizer.head_lr_factor == 1
    thawing = config_of(TRAINED, freeze="backbone", unfreeze=["1:layer1"])
    assert thawing.optimizer.head_lr_factor == 10
    assert config_of(TRAINED, headLearningRateFactor=3.0).optimizer.head_lr_factor == 3


@pytest.mark.parametrize(
    ("schedule", "last"), [("cosine", 0.0), ("plateau", 0.4), ("constant", 0.4)]
)
def test_schedules_warm_up_and_end_as_they_say(spark, schedule, last):
    config = config_of(
        num_train=80,
        batchSize=10,
        maxEpochs=4,
        learningRate=0.4,
        warmupEpochs=1.0,
        schedule=schedule,
    )
    rates = simulate(config.schedule, 33)
    assert rates[0] == pytest.approx(0.05)
    assert rates[8] == max(rates) == pytest.approx(0.4)
    assert rates[32] == pytest.approx(last)
    if schedule == "cosine":
        assert rates[20] == pytest.approx(0.2), "half-way down in the middle"
        assert 0 < rates[31] < 0.01, "the last step still trains"


def test_a_schedule_is_as_long_as_the_run_also_if_steps_end_it(spark):
    config = config_of(num_train=80, batchSize=10, maxEpochs=100, maxSteps=20, learningRate=0.4)
    assert config.schedule.lr(20) == pytest.approx(0)


def test_a_schedule_given_as_a_value_or_as_json_is_taken_as_it_is(spark):
    wanted = Cosine(base=0.2, steps=7)
    assert config_of(schedule=wanted).schedule == wanted
    assert config_of(schedule=json.dumps(schedule_to_json(wanted))).schedule == wanted


def test_a_loss_can_be_named_given_or_changed(spark):
    assert config_of().loss == BCEWithLogits()
    assert config_of(loss="asymmetric").loss == AsymmetricLoss()
    focal = config_of(loss=FocalLoss(gamma=1.0), labelSmoothing=0.1, findingWeights=[1, 2, 3]).loss
    assert focal == FocalLoss(gamma=1.0, label_smoothing=0.1, finding_weights=(1.0, 2.0, 3.0))
    assert config_of(posWeight="2,3,4").loss == BCEWithLogits(pos_weight=(2.0, 3.0, 4.0))


def test_balanced_weights_are_counted_from_the_training_split(spark):
    loss = config_of(posWeight="balanced", findingWeights="balanced").loss
    assert loss.pos_weight == pytest.approx((74 / 25, 9.0, 20.0))
    assert loss.finding_weights == pytest.approx(np.array([1, 2.5, 20]) * 3 / 23.5)


def test_the_plateau_of_a_run_is_the_sound_one(spark):
    parts = config_of(schedule="plateau").schedule.parts
    assert isinstance(parts[-1][0], ReduceOnPlateau)


@pytest.mark.parametrize(
    ("module", "hint"),
    [
        (nn.MSELoss(), "'torch:MSELoss'"),
        (nn.HuberLoss(delta=2.0), r"'torch:HuberLoss', or hilum.optim.TorchLoss .*\(delta\)"),
        (nn.CosineEmbeddingLoss(), "marked with hilum.optim.loss_function"),
    ],
)
def test_a_loss_given_as_a_module_is_told_the_way_out(module, hint):
    with pytest.raises(InvalidValueError, match=hint):
        to_loss_text(module)
