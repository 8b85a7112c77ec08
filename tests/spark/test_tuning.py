"""Tuning with Spark ML's own tools: folds by patient, grids, lists of parameters, evaluators."""

import numpy as np
import pytest
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.evaluation import BinaryClassificationEvaluator
from pyspark.ml.feature import SQLTransformer
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder, TrainValidationSplit
from sklearn.metrics import roc_auc_score

import any_models
from hilum.errors import InvalidValueError
from hilum.models import factory
from hilum.spark import NNEstimator, NNModel, RocAucEvaluator, folds_by_patient
from image_files import picture
from tiny_models import tiny_bundle

pytestmark = pytest.mark.spark

FINDINGS = ["Bright", "Left"]
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


def test_cross_validation_over_patients_fits_in_parallel_and_is_the_same_as_by_hand(data, tmp_path):
    """Two folds and two learning rates at once; each fit is a run of its own."""
    folded = folds_by_patient(data, 2)
    stage = estimator(runDir=str(tmp_path / "{run}"), seed=5)
    grid = ParamGridBuilder().addGrid(stage.learningRate, [1e-4, 0.1]).build()
    evaluator = RocAucEvaluator(findings=FINDINGS)
    validator = CrossValidator(
        estimator=stage,
        estimatorParamMaps=grid,
        evaluator=evaluator,
        numFolds=2,
        foldCol="fold",
        parallelism=2,
        collectSubModels=True,
    )
    tuned = validator.fit(folded)
    assert len(list(tmp_path.iterdir())) == 5, "four fits and the best one on all patients"
    by_fold = []
    for fold, models in enumerate(tuned.subModels):
        rest = folded.filter(f"fold = {fold}").cache()
        by_fold.append([evaluator.evaluate(model.transform(rest)) for model in models])
    np.testing.assert_allclose(tuned.avgMetrics, np.mean(by_fold, axis=0), atol=1e-9)
    best = grid[int(np.argmax(tuned.avgMetrics))][stage.learningRate]
    assert tuned.bestModel.bundle.provenance["training"]["schedule"]["after"]["base"] == best
    assert isinstance(tuned.bestModel, NNModel)


def test_a_list_of_parameters_gives_a_model_each_and_fitting_again_starts_afresh(data):
    stage = estimator()
    maps = [{stage.seed: 1}, {stage.seed: 2, stage.predictionCol: "p"}]
    first, second = stage.fit(data, maps)
    again = stage.fit(data, maps[0])
    assert (first.getPredictionCol(), second.getPredictionCol()) == ("prediction", "p")
    for name, tensor in first.bundle.weights.items():
        assert again.bundle.weights[name].equal(tensor), name
    assert any(not second.bundle.weights[n].equal(t) for n, t in first.bundle.weights.items())
    assert stage.getSeed() == 0
    assert len(again.summary) == 1
    assert again.summary.train_loss[0] == again.history.epochs[0].train_loss


def test_sparks_own_evaluator_and_split_work_on_one_finding_in_a_pipeline(data, tmp_path):
    one = SQLTransformer(
        statement="SELECT *, double(prediction[1]) AS rawPrediction, labels[1] AS label "
        "FROM __THIS__ WHERE prediction IS NOT NULL AND labels[1] IS NOT NULL"
    )
    stage = estimator()
    pipeline = Pipeline(stages=[stage, one])
    split = TrainValidationSplit(
        estimator=pipeline,
        estimatorParamMaps=ParamGridBuilder().addGrid(stage.learningRate, [0.01]).build(),
        evaluator=BinaryClassificationEvaluator(),
        trainRatio=0.5,
        seed=1,
    )
    tuned = split.fit(data)
    path = str(tmp_path / "best")
    tuned.bestModel.write().overwrite().save(path)
    scored = PipelineModel.load(path).transform(data).select("rawPrediction", "label").cache()
    rows = scored.collect()
    known = roc_auc_score([row.label for row in rows], [row.rawPrediction for row in rows])
    assert BinaryClassificationEvaluator().evaluate(scored) == pytest.approx(known, abs=1e-9)
    assert 0 <= tuned.validationMetrics[0] <= 1


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
