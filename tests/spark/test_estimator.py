"""NNEstimator as Spark ML knows estimators: parameters, copies, pipelines, files of a run."""

import json
from pathlib import Path

import pytest
from pyspark.ml.param import Param
from pyspark.sql import functions as F

from hilum.errors import InvalidValueError
from hilum.findings import FINDINGS
from hilum.inference import load_bundle, save_bundle
from hilum.models import WeightsReport
from hilum.optim import simulate
from hilum.preprocessing import Chain, paper_chain
from hilum.spark import NNEstimator
from hilum.spark.fitting import resume_run, train_config

pytestmark = pytest.mark.spark


@pytest.fixture
def estimator(spark) -> NNEstimator:
    return NNEstimator()


def test_explain_params_tells_every_parameter_with_meaning_and_default(estimator):
    text = estimator.explainParams()
    declared = {name for name in dir(NNEstimator) if isinstance(getattr(NNEstimator, name), Param)}
    assert declared == {param.name for param in estimator.params}
    assert len(declared) == 32
    for param in estimator.params:
        assert f"{param.name}: " in text
        assert len(param.doc) > 10, param.name
        has_default = estimator.hasDefault(param) or param.name == "preprocessing"
        assert has_default, f"{param.name} has no default"


def test_every_constructor_keyword_is_a_parameter_with_the_same_default(estimator):
    keywords = NNEstimator.__init__.__wrapped__.__kwdefaults__
    for name, default in keywords.items():
        assert estimator.hasParam(name), name
        if default is not None:
            assert estimator.getOrDefault(name) == default, name


def test_parameters_can_be_set_by_keyword_and_by_set_params(spark):
    by_keyword = NNEstimator(model="resnet50", maxEpochs=3, findings=["A", "B"])
    by_method = NNEstimator().setParams(model="resnet50", maxEpochs=3, findings=["A", "B"])
    for stage in (by_keyword, by_method):
        settings = stage.settings()
        assert (settings.architecture, settings.max_epochs) == ("resnet50", 3)
        assert settings.findings == ("A", "B")
    assert by_method.setParams(maxEpochs=None).settings().max_epochs == 3, "None changes nothing"


def test_a_copy_is_independent_and_takes_extra_values(estimator):
    estimator.setParams(batchSize=9)
    copy = estimator.copy({estimator.maxEpochs: 2})
    copy.setParams(batchSize=10)
    assert (copy.settings().max_epochs, copy.settings().batch_size) == (2, 10)
    assert (estimator.settings().max_epochs, estimator.settings().batch_size) == (8, 9)
    values = {param.name: value for param, value in estimator.extractParamMap().items()}
    assert values["batchSize"] == 9
    assert values["findings"] == list(FINDINGS)


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
    "headLearningRateFactor": -1.0,
    "model": "resnet51",
    "seed": -1,
}


@pytest.mark.parametrize("name", INVALID)
def test_a_value_that_breaks_its_rule_is_refused_before_any_work(spark, name):
    with pytest.raises(InvalidValueError, match=name) as caught:
        NNEstimator(**{name: INVALID[name]}).settings()
    assert str(INVALID[name]) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"), [("maxEpochs", "many"), ("learningRate", "high"), ("freezeBackbone", 3)]
)
def test_a_value_of_another_type_is_refused_at_once(spark, name, value):
    with pytest.raises(TypeError, match=name):
        NNEstimator(**{name: value})


def test_unknown_parameters_are_refused(spark):
    with pytest.raises(TypeError, match="epochs"):
        NNEstimator(epochs=3)
    with pytest.raises((AttributeError, TypeError, InvalidValueError), match="epochs"):
        NNEstimator().setParams(epochs=3)


def test_a_chain_can_be_given_as_object_or_json(spark):
    chain = paper_chain()
    for given in (chain, json.dumps(chain.to_json())):
        assert NNEstimator(preprocessing=given).settings().preprocessing == chain
    for wrong in ("{}", "no json", 3):
        with pytest.raises(InvalidValueError, match="preprocessing"):
            NNEstimator(preprocessing=wrong)


def test_image_size_sets_what_the_network_sees(spark):
    chain = NNEstimator(model="resnet50", imageSize=96).chain()
    assert isinstance(chain, Chain)
    assert chain.output_shape((1, 500, 400)) == (3, 96, 96)
    assert NNEstimator(model="resnet50").chain().output_shape((1, 500, 400)) == (3, 224, 224)


TRAINED = WeightsReport(source="a file", kind="file")
UNTRAINED = WeightsReport(source="", kind="random")


def config_of(start=TRAINED, num_train=100, **params):
    return train_config(NNEstimator(**params).settings(), start, num_train)


def test_batch_norm_is_frozen_where_the_backbone_starts_trained_unless_told_otherwise(spark):
    assert config_of(TRAINED).batch_norm == "frozen"
    assert config_of(UNTRAINED).batch_norm == "batch"
    assert config_of(UNTRAINED, freezeBackbone=True).batch_norm == "frozen"
    assert config_of(TRAINED, batchNorm="batch").batch_norm == "batch"
    assert config_of(TRAINED, freezeBackbone=True, batchNorm="batch").batch_norm == "batch"


def test_a_new_head_on_a_trained_backbone_learns_ten_times_as_fast_unless_told_otherwise(spark):
    assert config_of(TRAINED).optimizer.head_lr_factor == 10
    assert config_of(UNTRAINED).optimizer.head_lr_factor == 1
    assert config_of(TRAINED, freezeBackbone=True).optimizer.head_lr_factor == 1
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


def test_an_estimator_is_saved_and_loaded_with_all_its_values(spark, tmp_path):
    before = NNEstimator(model="resnet50", findings=["A"], preprocessing=paper_chain(), dropout=0.3)
    before.write().overwrite().save(str(tmp_path / "estimator"))
    after = NNEstimator.load(str(tmp_path / "estimator"))
    assert after.uid == before.uid
    assert after.settings() == before.settings()


def test_fitting_in_a_pipeline_trains_and_keeps_history_checkpoints_and_cache(trained):
    run = trained.run
    assert [record.epoch for record in trained.model.history] == [0, 1]
    assert json.loads((run / "history.json").read_text()) == trained.model.history.to_json()
    assert (run / "checkpoints/best.json").exists()
    assert (run / "job.json").exists()
    assert len(list((run / "cache").iterdir())) == 1
    assert all(record.train_loss > 0 for record in trained.model.history)
    assert all(record.valid_loss is not None for record in trained.model.history)


def test_the_bundle_knows_where_it_comes_from(trained):
    bundle = trained.model.bundle
    provenance = bundle.provenance
    assert bundle.findings == ("Bright", "Left")
    assert provenance["images_rejected"] == {"truncated": 1, "not_an_image": 1}
    assert sum(provenance["images_per_split"].values()) == 26
    assert set(provenance["images_per_split"]) == {"train", "valid", "test"}
    assert provenance["num_ranks"] == 1
    assert provenance["training"]["max_epochs"] == 2
    assert set(provenance["versions"]) == {"hilum", "torch", "spark"}
    assert bundle.metrics["epoch"] == trained.model.history.best().epoch


def test_the_bundle_is_usable_without_spark(trained, tmp_path):
    save_bundle(trained.model.bundle, str(tmp_path / "bundle"))
    assert load_bundle(str(tmp_path / "bundle")).findings == ("Bright", "Left")


def test_the_model_has_the_estimators_uid_and_columns(trained):
    assert trained.model.uid == trained.estimator.uid
    assert trained.model.getFeaturesCol() == trained.estimator.getFeaturesCol()
    assert trained.model.getPredictionCol() == "prediction"


def test_a_run_directory_is_not_trained_into_twice(trained):
    with pytest.raises(InvalidValueError, match=r"runDir.*resume"):
        trained.estimator.fit(trained.data)


def test_resuming_a_finished_run_gives_its_model_without_training(spark, trained):
    before = {path: path.stat().st_mtime_ns for path in Path(trained.run).rglob("epoch-*")}
    fitted = resume_run(spark, str(trained.run), show_progress=False)
    assert fitted.history == trained.model.history
    assert {path: path.stat().st_mtime_ns for path in Path(trained.run).rglob("epoch-*")} == before
    for name, tensor in trained.model.bundle.weights.items():
        assert fitted.bundle.weights[name].equal(tensor), name


def test_columns_that_are_not_there_are_named(trained, tmp_path):
    for name in ("featuresCol", "labelCol", "splitCol"):
        wrong = trained.estimator.copy().setParams(**{name: "nope", "runDir": str(tmp_path)})
        with pytest.raises(InvalidValueError, match=rf"(?s){name}.*'nope'"):
            wrong.fit(trained.data)


def test_findings_must_fit_the_label_arrays(trained, tmp_path):
    wrong = trained.estimator.copy().setParams(findings=["A", "B", "C"], runDir=str(tmp_path))
    with pytest.raises(InvalidValueError, match=r"findings must be .*\(2\)"):
        wrong.fit(trained.data)


def test_a_data_set_without_training_rows_says_so(trained, tmp_path):
    wrong = trained.estimator.copy().setParams(runDir=str(tmp_path))
    with pytest.raises(InvalidValueError, match="training split"):
        wrong.fit(trained.data.withColumn("split", F.lit("test")))
