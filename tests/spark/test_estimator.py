"""NNEstimator as Spark ML knows estimators: parameters, copies, pipelines, files of a run."""

import json
from pathlib import Path

import pytest
from pyspark.ml.param import Param
from pyspark.sql import functions as F

from hilum.errors import InvalidValueError
from hilum.findings import FINDINGS
from hilum.inference import load_bundle, save_bundle
from hilum.optim import Constant, FocalLoss, LayerRule
from hilum.preprocessing import Chain, paper_chain
from hilum.spark import NNEstimator
from hilum.spark.fitting import resume_run
from hilum.training import Every, History

pytestmark = pytest.mark.spark


@pytest.fixture
def estimator(spark) -> NNEstimator:
    return NNEstimator()


def test_explain_params_tells_every_parameter_with_meaning_and_default(estimator):
    text = estimator.explainParams()
    declared = {name for name in dir(NNEstimator) if isinstance(getattr(NNEstimator, name), Param)}
    assert declared == {param.name for param in estimator.params}
    assert len(declared) == 73
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
        assert (settings.draft.architecture, settings.draft.max_epochs) == ("resnet50", 3)
        assert settings.draft.outputs == ("A", "B")
    again = by_method.setParams(maxEpochs=None).settings()
    assert again.draft.max_epochs == 3, "None changes nothing"


def test_a_copy_is_independent_and_takes_extra_values(estimator):
    estimator.setParams(batchSize=9)
    copy = estimator.copy({estimator.maxEpochs: 2})
    copy.setParams(batchSize=10)
    changed, kept = copy.settings().draft, estimator.settings().draft
    assert (changed.max_epochs, changed.global_batch_size) == (2, 10)
    assert (kept.max_epochs, kept.global_batch_size) == (8, 9)
    values = {param.name: value for param, value in estimator.extractParamMap().items()}
    assert values["batchSize"] == 9
    assert values["findings"] == list(FINDINGS)


@pytest.mark.parametrize(
    ("name", "value"), [("maxEpochs", "many"), ("learningRate", "high"), ("compile", 3)]
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
        assert NNEstimator(preprocessing=given).settings().draft.preprocessing == chain
    for wrong in ("{}", "no json", 3):
        with pytest.raises(InvalidValueError, match="preprocessing"):
            NNEstimator(preprocessing=wrong)


def test_image_size_sets_what_the_network_sees(spark):
    chain = NNEstimator(model="resnet50", imageSize=96).chain()
    assert isinstance(chain, Chain)
    assert chain.output_shape((1, 500, 400)) == (3, 96, 96)
    assert NNEstimator(model="resnet50").chain().output_shape((1, 500, 400)) == (3, 224, 224)


def test_an_estimator_is_saved_and_loaded_with_all_its_values(spark, tmp_path):
    before = NNEstimator(
        model="resnet50",
        findings=["A"],
        preprocessing=paper_chain(),
        schedule=Constant(base=0.1),
        loss=FocalLoss(gamma=1.0),
        layerRules=[LayerRule(pattern="layer4.*", lr_factor=0.5)],
        unfreeze=[(2, "layer3"), "4:"],
        freeze="backbone",
        checkpointEvery=Every(minutes=1.5),
        findingWeights=[2.0],
        betas=(0.8, 0.9),
    )
    before.write().overwrite().save(str(tmp_path / "estimator"))
    after = NNEstimator.load(str(tmp_path / "estimator"))
    assert after.uid == before.uid
    assert after.settings() == before.settings()


def test_fitting_in_a_pipeline_trains_and_keeps_history_checkpoints_and_cache(trained):
    run = trained.run
    assert [record.epoch for record in trained.model.history] == [0, 1]
    written = json.loads((run / "history.json").read_text())
    assert History.from_json(written) == trained.model.history
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
    before = {path: path.stat().st_mtime_ns for path in Path(trained.run).rglob("step-*")}
    assert before, "checkpoints are there"
    fitted = resume_run(spark, str(trained.run), show_progress=False)
    assert fitted.history == trained.model.history
    assert {path: path.stat().st_mtime_ns for path in Path(trained.run).rglob("step-*")} == before
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


def test_a_layer_that_is_not_there_is_refused_before_ranks_start(trained, tmp_path):
    for params, rule in (
        ({"layerRules": ["layer9.*:lr_factor=0.1"]}, "pattern must be one that"),
        ({"freeze": "layer9"}, "freeze must be"),
    ):
        wrong = trained.estimator.copy().setParams(**params, runDir=str(tmp_path))
        with pytest.raises(InvalidValueError, match=rf"{rule}.*layer9") as caught:
            wrong.fit(trained.data)
        assert "rank" not in str(caught.value)
        assert not (tmp_path / "job.json").exists()


def test_a_data_set_without_training_rows_says_so(trained, tmp_path):
    wrong = trained.estimator.copy().setParams(runDir=str(tmp_path))
    with pytest.raises(InvalidValueError, match="training split"):
        wrong.fit(trained.data.withColumn("split", F.lit("test")))
