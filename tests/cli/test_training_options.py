"""Options of `hilum run` and `hilum train`: each is a parameter of NNEstimator, none is missing."""

import inspect

import pytest
import typer
from pyspark.ml.param import Param

from hilum.cli.main import app
from hilum.cli.training_options import TrainingOptions
from hilum.spark import NNEstimator

# Set by the commands themselves, or columns of a table the commands make.
NOT_TYPED = {"featuresCol", "labelCol", "splitCol", "predictionCol", "errorCol", "oodScoreCol"} | {
    "predictedFindingsCol",
    "predictBatchSize",
    "featuresCols",
    "labelCols",
    "weightCol",
    "head",
    "inputShapes",
    "encoders",
    "findings",
    "preprocessing",
    "runDir",
    "showProgress",
}


def other_than(value):
    """A value of the same type that is no default."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    if isinstance(value, str):
        return value + "x"
    return [*value, "x"]


def options_with_other_values():
    plain = TrainingOptions()
    names = inspect.signature(TrainingOptions).parameters
    return TrainingOptions(**{name: other_than(getattr(plain, name)) for name in names})


def test_every_parameter_of_training_is_an_option():
    declared = {name for name in dir(NNEstimator) if isinstance(getattr(NNEstimator, name), Param)}
    assert set(options_with_other_values().params()) == declared - NOT_TYPED


@pytest.mark.spark
def test_options_and_parameters_have_the_same_defaults(spark):
    estimator, plain = NNEstimator(), TrainingOptions()
    for name in inspect.signature(TrainingOptions).parameters:
        param = next(iter(TrainingOptions(**{name: other_than(getattr(plain, name))}).params()))
        default = getattr(plain, name)
        default = list(default) if isinstance(default, tuple) else default
        assert estimator.getOrDefault(param) == default, name


def test_what_is_left_at_its_default_is_not_passed_on():
    assert TrainingOptions().params() == {}
    assert TrainingOptions(epochs=3, ranks=2).params() == {"maxEpochs": 3, "numRanks": 2}


@pytest.mark.parametrize("command", ["run", "train"])
def test_both_commands_have_all_options_with_help(command):
    options = {p.name: p for p in typer.main.get_command(app).commands[command].params}
    for name in inspect.signature(TrainingOptions).parameters:
        assert options[name].help, name
