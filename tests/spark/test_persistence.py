"""Saved stages: those of older versions are read, and what broke off is not taken as whole."""

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from pyspark.ml import Pipeline, PipelineModel

import any_models
from hilum.errors import ChecksumError, HilumError, InvalidValueError
from hilum.models import factory
from hilum.spark import NNEstimator, NNModel
from hilum.training import EpochRecord, History
from image_files import picture
from tiny_models import tiny_bundle

pytestmark = pytest.mark.spark

GOLDEN = Path(__file__).parents[1] / "golden/stages_0.1.0_e29118e.zip"
IMAGE = "image struct<origin:string,height:int,width:int,nChannels:int,mode:int,data:binary>"
HISTORY = History(
    (
        EpochRecord(
            epoch=0,
            step=3,
            train_loss=0.5,
            valid_loss=None,
            valid_mean_auroc=0.75,
            valid_auroc=(0.5, None, 1.0),
            lr=0.1,
            images_per_s=2.0,
            seconds=3.0,
        ),
    ),
    stopped="maxEpochs",
)


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    """Stages that Hilum 0.1.0 saved at commit e29118e, and what they predicted then."""
    folder = tmp_path_factory.mktemp("golden")
    with zipfile.ZipFile(GOLDEN) as file:
        file.extractall(folder)
    return folder, np.array(json.loads((folder / "expected.json").read_text())["score"])


@pytest.fixture(scope="module")
def pictures(spark):
    rows = [((f"{i}", 20, 18, 1, 0, picture(i, 20, 18).tobytes()),) for i in range(12)]
    spark.addArtifacts(any_models.__file__, pyfile=True)
    return spark.createDataFrame(rows, IMAGE).coalesce(1)


def test_models_and_pipelines_of_version_0_1_0_predict_what_they_did(golden, pictures):
    folder, expected = golden
    model = NNModel.load(str(folder / "model"))
    pipeline = PipelineModel.load(str(folder / "pipeline_model"))
    assert (model.getPredictBatchSize(), model.getErrorCol()) == (5, "prediction_error")
    assert model.history == History()
    for stage in (model, pipeline):
        found = [row.score for row in stage.transform(pictures).select("score").collect()]
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_estimators_of_version_0_1_0_keep_their_settings_and_their_network(golden):
    folder, _ = golden
    estimator = NNEstimator.load(str(folder / "estimator"))
    (_, within) = Pipeline.load(str(folder / "pipeline")).getStages()
    for stage in (estimator, within):
        assert stage.getModel() == factory(any_models.small_net, width=2)
        assert (stage.getMaxEpochs(), stage.getSeed(), stage.getBatchSize()) == (2, 7, 4)
        assert stage.settings() == estimator.settings()


def test_history_is_saved_and_spark_says_where(spark, tmp_path):
    """A path with a blank and a percent sign, as a URL, and what was there before."""
    (tmp_path / "a b%20c").mkdir()
    path = f"file://{tmp_path}/a b%20c"
    model = NNModel(tiny_bundle(), HISTORY)
    model.write().overwrite().save(path)
    loaded = NNModel.load(path)
    assert loaded.history == HISTORY
    assert loaded.summary.equals(model.summary)
    names = {entry.name for entry in (tmp_path / "a b%20c").iterdir()}
    assert names == {"metadata", "bundle", "history.json"}


def test_columns_beside_the_predictions_follow_their_name_after_loading_too(spark, tmp_path):
    path = str(tmp_path / "estimator")
    NNEstimator(predictionCol="second").save(path)
    loaded = NNEstimator.load(path)
    assert loaded.getErrorCol() == "second_error"
    assert loaded.copy({loaded.predictionCol: "third"}).getErrorCol() == "third_error"
    loaded.clear(loaded.predictionCol)
    assert loaded.getErrorCol() == "prediction_error"


def test_what_cannot_be_saved_is_refused_before_the_old_one_is_overwritten(spark, tmp_path):
    path = str(tmp_path / "model")
    NNModel(tiny_bundle()).save(path)
    with pytest.raises(InvalidValueError, match="from_bundle"):
        NNModel().write().overwrite().save(path)
    assert NNModel.load(path).findings == tiny_bundle().findings


def test_functions_that_nobody_else_could_find_are_refused_with_the_way_out():
    def local_net():
        return any_models.small_net()

    for function in (lambda: any_models.small_net(), local_net, any_models.not_marked):
        with pytest.raises(InvalidValueError, match=r"model must be.*network_factory"):
            NNEstimator(model=function)


def test_an_estimator_that_broke_off_is_an_error_and_not_the_default_network(spark, tmp_path):
    path = tmp_path / "estimator"
    NNEstimator(model=factory(any_models.small_net, width=2)).save(str(path))
    (path / "model/factory.json").unlink()
    with pytest.raises(HilumError, match=r"model must be a stage that was saved to its end"):
        NNEstimator.load(str(path))
    shutil.rmtree(path / "model")
    with pytest.raises(InvalidValueError, match=r"saved to its end. Got 'no model'.*save or copy"):
        NNEstimator.load(str(path))
    NNEstimator(model="resnet50").write().overwrite().save(str(path))
    assert NNEstimator.load(str(path)).getModel() == "resnet50"


def test_a_model_that_broke_off_is_an_error_and_names_what_is_missing(spark, tmp_path):
    whole = tmp_path / "whole"
    NNModel(tiny_bundle(), HISTORY).save(str(whole))
    broken = {
        "bundle/manifest.json": (InvalidValueError, "manifest.json"),
        "bundle/weights.safetensors": (ChecksumError, "weights.safetensors"),
        "history.json": (InvalidValueError, "no history.json"),
    }
    for name, (error, message) in broken.items():
        part = tmp_path / "part"
        shutil.copytree(whole, part)
        (part / name).unlink()
        with pytest.raises(error, match=message):
            NNModel.load(str(part))
        shutil.rmtree(part)
    for file in (whole / "metadata").iterdir():
        file.unlink()
    with pytest.raises(InvalidValueError, match="empty metadata"):
        NNModel.load(str(whole))


def test_another_kind_of_stage_is_refused_with_the_class_to_load_it_by(spark, tmp_path):
    NNEstimator().save(str(tmp_path / "estimator"))
    with pytest.raises(InvalidValueError, match=r"NNModel.*Hint: NNEstimator\.load"):
        NNModel.load(str(tmp_path / "estimator"))
