"""Tuning with Spark ML's own tools: folds by patient, grids, lists of parameters, evaluators."""

import numpy as np
import pytest
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.evaluation import BinaryClassificationEvaluator
from pyspark.ml.feature import SQLTransformer
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder, TrainValidationSplit
from pyspark.sql import functions as F
from sklearn.metrics import roc_auc_score

import any_models
from hilum.errors import InvalidValueError
from hilum.models import factory
from hilum.spark import NNEstimator, NNModel, RocAucEvaluator, folds_by_patient
from image_files import picture
from tiny_models import tiny_bundle

pytestmark = pytest.mark.spark

FINDINGS = ["Bright", "Left"]
RATES = [1e-4, 0.1]
IMAGE = "image struct<origin:string,height:int,width:int,nChannels:int,mode:int,data:binary>"


@pytest.fixture(scope="module")
def data(spark):
    """Two pictures of each of twelve patients; the last picture is nobody's."""
    spark.addArtifacts(any_models.__file__, pyfile=True)
    rows = [
        (
            (f"{i}", 20, 18, 1, 0, picture(i, 20, 18).tobytes()),
            [float(i % 2), float(i // 2 % 2)],
            f"patient {i // 2}" if i < 24 else None,
        )
        for i in range(25)
    ]
    return spark.createDataFrame(rows, f"{IMAGE}, labels array<float>, patient_id string").coalesce(
        1
    )


def estimator(**changes):
    return NNEstimator(
        model=factory(any_models.small_net, width=2),
        findings=FINDINGS,
        imageSize=16,
        maxEpochs=1,
        batchSize=8,
        precision="float32",
        showProgress=False,
        **changes,
    )


def test_no_patient_is_in_two_folds_and_a_row_of_nobody_in_none(spark):
    rows = [(f"p{i % 300}", i) for i in range(900)] + [(None, 900), (" ", 901)]
    table = spark.createDataFrame(rows, "patient_id string, image int").repartition(3)
    folds = folds_by_patient(table, 5, seed=3).groupBy("patient_id").agg({"fold": "collect_set"})
    sets = [row[1] for row in folds.collect()]
    assert len(sets) == 300
    assert all(len(of_patient) == 1 for of_patient in sets)
    sizes = np.bincount([of_patient[0] for of_patient in sets])
    assert len(sizes) == 5
    assert sizes.min() > 35
    with pytest.raises(InvalidValueError, match="numFolds must be two or more"):
        folds_by_patient(table, 1)
    with pytest.raises(InvalidValueError, match="patientCol must name"):
        folds_by_patient(table, 3, patientCol="who")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def tuned(data, runs):
    """Two folds and two learning rates, all at once, of a pipeline; the folded table and the grid.

    Each fit is a run of its own. The second stage makes of one finding what Spark's own evaluators
    read.
    """
    folded = folds_by_patient(data, 2)
    stage = estimator(runDir=str(runs / "{run}"), seed=5)
    one = SQLTransformer(
        statement="SELECT *, double(prediction[1]) AS rawPrediction, labels[1] AS label "
        "FROM __THIS__ WHERE prediction IS NOT NULL AND labels[1] IS NOT NULL"
    )
    grid = ParamGridBuilder().addGrid(stage.learningRate, RATES).build()
    validator = CrossValidator(
        estimator=Pipeline(stages=[stage, one]),
        estimatorParamMaps=grid,
        evaluator=RocAucEvaluator(findings=FINDINGS),
        numFolds=2,
        foldCol="fold",
        parallelism=2,
        collectSubModels=True,
    )
    return validator.fit(folded), folded


def best_rate(tuned):
    return RATES[int(np.argmax(tuned.avgMetrics))]


def test_cross_validation_over_patients_fits_in_parallel_and_is_the_same_as_by_hand(tuned, runs):
    found, folded = tuned
    assert len(list(runs.iterdir())) == 5, "four fits and the best one on all patients"
    evaluator = RocAucEvaluator(findings=FINDINGS)
    by_fold = []
    for fold, models in enumerate(found.subModels):
        rest = folded.filter(f"fold = {fold}").cache()
        by_fold.append([evaluator.evaluate(model.transform(rest)) for model in models])
    np.testing.assert_allclose(found.avgMetrics, np.mean(by_fold, axis=0), atol=1e-9)
    best, _ = found.bestModel.stages
    warmup = best.bundle.provenance["training"]["schedule"]["parts"][0][0]
    assert warmup["peak"] == best_rate(found)
    assert isinstance(best, NNModel)


def test_train_validation_split_keeps_the_better_of_two_rates(data):
    stage, evaluator = estimator(seed=5), RocAucEvaluator(findings=FINDINGS)
    found = TrainValidationSplit(
        estimator=stage,
        estimatorParamMaps=ParamGridBuilder().addGrid(stage.learningRate, RATES).build(),
        evaluator=evaluator,
        trainRatio=0.5,
        seed=1,
        collectSubModels=True,
    ).fit(data)
    rest = data.withColumn("draw", F.rand(1)).filter("draw >= 0.5")  # as Spark's code draws
    by_hand = [evaluator.evaluate(model.transform(rest)) for model in found.subModels]
    np.testing.assert_allclose(found.validationMetrics, by_hand, atol=1e-9)
    schedule = found.bestModel.bundle.provenance["training"]["schedule"]
    assert schedule["parts"][0][0]["peak"] == RATES[int(np.argmax(by_hand))]


def test_a_list_of_parameters_gives_a_model_each_and_fitting_again_starts_afresh(tuned):
    """The first of them is the best model once more, which was fitted after others."""
    found, folded = tuned
    stage = estimator(learningRate=best_rate(found))
    maps = [{stage.seed: 5}, {stage.seed: 2, stage.predictionCol: "p"}]
    again, other = stage.fit(folded, maps)
    assert (again.getPredictionCol(), other.getPredictionCol()) == ("prediction", "p")
    best = found.bestModel.stages[0].bundle.weights
    for name, tensor in again.bundle.weights.items():
        assert best[name].equal(tensor), name
    assert any(not other.bundle.weights[name].equal(tensor) for name, tensor in best.items())
    assert stage.getSeed() == 0
    assert len(again.summary) == 1
    assert again.summary.train_loss[0] == again.history.epochs[0].train_loss


def test_sparks_own_evaluator_reads_one_finding_of_the_best_pipeline_after_saving(
    tuned, data, tmp_path
):
    path = str(tmp_path / "best")
    tuned[0].bestModel.write().overwrite().save(path)
    scored = PipelineModel.load(path).transform(data).select("rawPrediction", "label").cache()
    rows = scored.collect()
    known = roc_auc_score([row.label for row in rows], [row.rawPrediction for row in rows])
    assert BinaryClassificationEvaluator().evaluate(scored) == pytest.approx(known, abs=1e-9)


def test_an_output_column_that_is_there_is_refused_by_its_parameter(data):
    model = NNModel(tiny_bundle())
    scored = model.transform(data)
    with pytest.raises(InvalidValueError, match=r"predictionCol must be the name of a new column"):
        model.transform(scored)
    both = model.copy().setPredictionCol("second").transform(scored)
    assert both.columns[-4:] == ["second", "second_ood_score", "second_error", "second_findings"]
    with pytest.raises(InvalidValueError, match=r"errorCol.*'LABELS'.*setErrorCol"):
        model.copy().setErrorCol("LABELS").transform(data)
    with pytest.raises(InvalidValueError, match=r"oodScoreCol must be"):
        model.copy().setOodScoreCol("prediction").transform(data)
    few = model.copy().setErrorCol("").setOodScoreCol("").setPredictedFindingsCol("")
    assert few.transform(data).columns == [*data.columns, "prediction"]
