"""What Spark ML promises of every stage; a new stage is one line of `STAGES`. No session."""

import pytest

from hilum.errors import InvalidValueError
from hilum.spark import (
    NNClassifier,
    NNClassifierModel,
    NNEstimator,
    NNModel,
    RocAucEvaluator,
)
from hilum.spark.fitting import fresh_run_directory
from tiny_models import tiny_bundle

# How a stage is made, with one parameter and two legal values of it.
STAGES = {
    "NNEstimator": (lambda: NNEstimator(findings=["A", "B"]), "maxEpochs", 3, 4),
    "NNModel": (lambda: NNModel(tiny_bundle()), "predictionCol", "score", "points"),
    "NNClassifier": (lambda: NNClassifier(maxEpochs=2), "maxEpochs", 3, 4),
    "NNClassifierModel": (lambda: NNClassifierModel(), "handleInvalid", "skip", "error"),
    "RocAucEvaluator": (lambda: RocAucEvaluator(findings=["A", "B"]), "finding", "A", "B"),
}
# The network's own, so not known before the model is; and as in Spark ML.
WITHOUT_DEFAULT = {"preprocessing", "thresholds"}
OTHER_GETTERS = {"getPreprocessing"}  # gives the chain, not its JSON


@pytest.fixture(params=STAGES)
def case(request):
    make, name, value, other = STAGES[request.param]
    return make(), name, value, other


def values(stage):
    return {param.name: value for param, value in stage.extractParamMap().items()}


def accessor(word, param):
    return f"{word}{param.name[0].upper()}{param.name[1:]}"


def test_every_parameter_has_a_meaning_and_a_default(case):
    stage = case[0]
    text = stage.explainParams()
    for param in stage.params:
        assert len(param.doc) > 10, param.name
        assert stage.hasDefault(param) or param.name in WITHOUT_DEFAULT, param.name
        assert f"{param.name}: " in text


def test_every_parameter_refuses_a_value_of_no_known_type_by_name(case):
    stage = case[0]
    for param in stage.params:
        with pytest.raises((TypeError, InvalidValueError), match=param.name):
            stage._set(**{param.name: object()})


def test_every_parameter_can_be_set_and_read_by_a_method_of_its_own(case):
    stage = case[0]
    for name, value in values(stage).items():
        param = stage.getParam(name)
        assert getattr(stage, accessor("set", param))(value) is stage, name
        assert stage.isSet(param)
        getter = accessor("get", param)
        assert getter in OTHER_GETTERS or getattr(stage, getter)() == value
        with pytest.raises((TypeError, InvalidValueError), match=name):
            getattr(stage, accessor("set", param))(None)
    for param in stage.params:
        for word in ("get", "set"):
            assert getattr(type(stage), accessor(word, param)).__doc__, param.name


def test_a_copy_is_independent_and_takes_extra_values(case):
    stage, name, value, other = case
    stage._set(**{name: value})
    copy = stage.copy({stage.getParam(name): other})
    assert (values(stage)[name], values(copy)[name]) == (value, other)
    assert copy.uid == stage.uid
    copy._set(**{name: value})
    assert values(copy) == values(stage)
    stage.clear(stage.getParam(name))
    assert copy.isSet(name)


@pytest.mark.parametrize(
    ("name", "value"),
    [("maxEpochs", 0), ("predictBatchSize", -1), ("dropout", 1.0), ("optimizer", "newton")],
)
def test_a_value_that_breaks_its_rule_is_refused_at_once_and_changes_nothing(name, value):
    stage = NNEstimator()
    before = values(stage)
    for attempt in (
        lambda: stage._set(maxSteps=3, **{name: value}),
        lambda: getattr(stage, accessor("set", stage.getParam(name)))(value),
        lambda: stage.copy({stage.getParam(name): value}),
        lambda: stage.set(stage.getParam(name), value),
        lambda: NNEstimator().setParams(**{name: value}) if hasattr(stage, name) else None,
    ):
        with pytest.raises((InvalidValueError, TypeError), match=name):
            attempt()
    assert values(stage) == before


@pytest.mark.parametrize("case", [n for n in STAGES if n.startswith("NN")], indirect=True)
def test_output_columns_are_called_after_the_predictions(case):
    stage = case[0]
    usual = {
        "errorCol": "prediction_error",
        "predictedFindingsCol": "predicted_findings",
        "oodScoreCol": "ood_score",
    }
    beside = {"predictedFindingsCol": "second_findings", "oodScoreCol": "second_ood_score"}
    if isinstance(stage, NNClassifier | NNClassifierModel):
        usual |= {"probabilityCol": "probability", "rawPredictionCol": "rawPrediction"}
        beside |= {"probabilityCol": "second_probability", "rawPredictionCol": "second_raw"}
    assert usual.items() <= values(stage).items()
    copied = values(stage.copy({stage.predictionCol: "second"}))
    assert beside.items() <= copied.items()
    assert copied["errorCol"] == "second_error"
    stage.setErrorCol("why").set(stage.predictionCol, "second")
    assert (beside | {"errorCol": "why"}).items() <= values(stage).items()
    assert values(stage.copy()) == values(stage)
    stage.setPredictionCol("prediction").clear(stage.errorCol)
    assert usual.items() <= values(stage).items()


@pytest.mark.parametrize("case", [n for n in STAGES if n.startswith("NN")], indirect=True)
def test_a_cleared_name_of_predictions_gives_the_other_columns_their_usual_names(case):
    stage = case[0]
    usual = values(stage)
    stage.setPredictionCol("second").setErrorCol("why")
    copied = stage.copy()
    stage.clear(stage.predictionCol)
    assert values(stage) == usual | {"errorCol": "why"}
    assert (copied.getPredictionCol(), copied.getOodScoreCol()) == ("second", "second_ood_score")
    for again in (copied.copy({stage.errorCol: "because"}), copied):
        again.clear(again.errorCol)
        assert again.getErrorCol() == "second_error"
        again.clear(again.predictionCol)
        assert values(again) == usual


def test_every_fit_gets_a_run_directory_of_its_own_where_it_is_asked_for():
    names = {fresh_run_directory("hdfs://host/runs/{run}/x") for _ in range(20)}
    assert len(names) == 20
    assert all(name.startswith("hdfs://host/runs/2") and name.endswith("/x") for name in names)
    for same in ("", "runs/one", "s3://bucket/run"):
        assert fresh_run_directory(same) == same
