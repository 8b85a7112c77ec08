"""NNModel.transform: one bad row costs one row, and pixels take one way to a probability."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pyspark.ml import Pipeline, PipelineModel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from hilum.errors import InvalidValueError
from hilum.evaluation.calibration import Calibration, FindingCalibration
from hilum.evaluation.decision import DecisionRules
from hilum.evaluation.operating import OperatingPoint, Youden
from hilum.inference import ModelBundle, Predictor
from hilum.spark import NNModel, register_predict
from hilum.spark.evaluator import RocAucEvaluator


def predictions(frame: DataFrame, column: str = "prediction") -> dict[str, np.ndarray | None]:
    rows = frame.select("file_name", column).collect()
    return {r[0]: None if r[1] is None else np.array(r[1], dtype=np.float32) for r in rows}


def together(found: dict[str, np.ndarray | None]) -> np.ndarray:
    return np.stack([found[name] for name in sorted(found) if found[name] is not None])


@pytest.fixture(scope="module")
def scored(trained) -> dict[str, np.ndarray | None]:
    return predictions(trained.model.transform(trained.data))


def test_no_row_is_lost_and_bad_ones_have_an_error_instead(trained):
    columns = ("file_name", "status", "reason", "prediction", "prediction_error")
    rows = trained.model.transform(trained.data).select(*columns).collect()
    assert len(rows) == 28
    for row in rows:
        if row["status"] == "ok":
            assert len(row["prediction"]) == 2
            assert row["prediction_error"] is None
        else:
            assert (row["prediction"], row["prediction_error"]) == (None, "no_image")
    assert sorted(row["reason"] for row in rows if row["reason"]) == ["not_an_image", "truncated"]


def test_all_columns_stay_and_four_are_added(trained):
    scored = trained.model.transform(trained.data)
    added = ["prediction", "ood_score", "prediction_error", "predicted_findings"]
    assert scored.columns == [*trained.data.columns, *added]
    assert scored.schema["prediction"].dataType.simpleString() == "array<float>"


def test_spark_predicts_what_the_predictor_does(trained, scored):
    names = sorted(trained.pixels)
    predictor = Predictor.load(trained.model.bundle)
    alone = np.stack(list(predictor.predict(trained.pixels[name] for name in names)))
    np.testing.assert_allclose(np.stack([scored[name] for name in names]), alone, atol=1e-6)


def test_spark_calibrates_and_calls_findings_as_the_predictor_does(trained, scored):
    bundle = replace(trained.model.bundle, decision_rules=rules_for(trained.model.findings))
    model, predictor = NNModel(bundle), Predictor.load(bundle)
    columns = ("file_name", "prediction", "predicted_findings")
    rows = model.transform(trained.data).select(*columns).collect()
    called = 0
    for name, prediction, present in rows:
        if scored[name] is None:
            assert (prediction, present) == (None, None)
            continue
        (alone,) = predictor.predict([trained.pixels[name]])
        np.testing.assert_allclose(prediction, alone, atol=1e-6)
        np.testing.assert_allclose(
            prediction, bundle.decision_rules.calibration.apply(scored[name]), atol=1e-6
        )
        assert present == predictor.present(np.array(prediction, dtype=np.float32))
        called += len(present)
    assert 0 < called < 2 * len(rows)


def rules_for(findings):
    """Steep enough that some of an untrained network's scores land on each side."""
    steep = FindingCalibration(method="platt", slope=3.0, intercept=0.1)
    point = OperatingPoint(
        rule=Youden(),
        thresholds=dict.fromkeys(findings, 0.5) | {findings[-1]: None},
        images=20,
        patients=20,
    )
    return DecisionRules(
        calibration=Calibration(findings=dict.fromkeys(findings, steep)),
        operating_points=(point,),
        split="valid",
        images=20,
        patients=20,
    )


def test_without_thresholds_no_finding_is_called(trained):
    rows = trained.model.transform(trained.data.limit(3)).select("predicted_findings").collect()
    assert [row[0] for row in rows] == [None] * 3


def test_predictions_do_not_depend_on_batches_or_partitions(spark, trained, scored):
    name = "spark.sql.execution.arrow.maxRecordsPerBatch"
    before = spark.conf.get(name)
    try:
        spark.conf.set(name, "3")
        small = trained.model.copy().setPredictBatchSize(4)
        others = predictions(small.transform(trained.data.repartition(3)))
    finally:
        spark.conf.set(name, before)
    assert [others[name] is None for name in scored] == [value is None for value in scored.values()]
    np.testing.assert_allclose(together(others), together(scored), atol=1e-6)


def test_null_and_corrupt_images_between_good_ones_do_not_shift_predictions(trained, scored):
    broken = F.when(
        F.col("file_name").isin("03.png", "04.png", "11.png"),
        F.col("image").withField("height", F.lit(3)),
    ).when(F.col("file_name") != "07.png", F.col("image"))
    data = trained.data.withColumn("image", broken).coalesce(1)
    model = trained.model.copy().setPredictBatchSize(2)
    rows = model.transform(data).select("file_name", "prediction", "prediction_error").collect()
    assert len(rows) == 28
    for name, prediction, error in rows:
        if name in ("03.png", "04.png", "11.png"):
            assert (prediction, error) == (None, "corrupt")
        elif name in ("07.png", "cut.png", "text.png"):
            assert (prediction, error) == (None, "no_image")
        else:
            assert error is None
            np.testing.assert_allclose(prediction, scored[name], atol=1e-6)


def test_a_model_is_saved_loaded_and_predicts_the_same(trained, scored, tmp_path):
    path = str(tmp_path / "model")
    trained.model.write().overwrite().save(path)
    changed = trained.model.copy().setPredictionCol("p")
    with pytest.raises(Exception, match="already exists"):
        changed.write().save(path)
    changed.write().overwrite().save(path)
    loaded = NNModel.load(path)
    assert (loaded.uid, loaded.getPredictionCol()) == (trained.model.uid, "p")
    assert loaded.findings == trained.model.findings
    for name, tensor in trained.model.bundle.weights.items():
        assert loaded.bundle.weights[name].equal(tensor), name
    again = together(predictions(loaded.transform(trained.data), "p"))
    np.testing.assert_allclose(again, together(scored), atol=1e-6)


def test_a_fitted_pipeline_is_saved_and_loaded(trained, scored, tmp_path):
    trained.pipeline.write().overwrite().save(str(tmp_path / "pipeline"))
    loaded = PipelineModel.load(str(tmp_path / "pipeline"))
    again = predictions(loaded.transform(trained.data.filter("file_name < '05'")))
    for name, prediction in again.items():
        np.testing.assert_allclose(prediction, scored[name], atol=1e-6)


def test_an_unfitted_pipeline_is_saved_and_loaded(trained, tmp_path):
    Pipeline(stages=[trained.estimator]).save(str(tmp_path / "pipeline"))
    (stage,) = Pipeline.load(str(tmp_path / "pipeline")).getStages()
    assert stage.settings() == trained.estimator.settings()


def test_two_models_work_in_one_session_and_one_query(trained, scored):
    bundle = trained.model.bundle
    other = NNModel(
        ModelBundle(
            architecture=bundle.architecture,
            findings=bundle.findings,
            preprocessing=bundle.preprocessing,
            weights={name: torch.zeros_like(value) for name, value in bundle.weights.items()},
        )
    ).setPredictionCol("other")
    other.setErrorCol("other_error")
    both = other.transform(trained.model.transform(trained.data))
    rows = both.select("file_name", "prediction", "other").collect()
    for name, prediction, zeros in rows:
        if scored[name] is None:
            assert (prediction, zeros) == (None, None)
        else:
            np.testing.assert_allclose(prediction, scored[name], atol=1e-6)
            assert zeros == [0.5, 0.5]


def test_rows_without_any_image_and_empty_frames_are_fine(trained):
    nothing = trained.data.filter("file_name = 'none'")
    assert trained.model.transform(nothing).collect() == []
    rejected = trained.data.filter("file_name in ('cut.png', 'text.png')")
    found = predictions(trained.model.transform(rejected))
    assert found == {"cut.png": None, "text.png": None}


def test_counting_scored_rows_runs_no_network(trained):
    plan = trained.model.transform(trained.data).groupBy().count()
    assert "ArrowEvalPython" not in plan._jdf.queryExecution().executedPlan().toString()


def test_prediction_and_error_come_from_one_pass(trained):
    frame = trained.model.transform(trained.data).select("prediction", "prediction_error")
    plan = frame._jdf.queryExecution().executedPlan().toString()
    assert plan.count("ArrowEvalPython") == 2, "one pass decodes, one predicts"


def test_an_image_column_of_another_type_is_refused_with_the_way_out(trained):
    with pytest.raises(InvalidValueError, match=r"featuresCol.*read_radiographs"):
        trained.model.copy().setFeaturesCol("file_name").transform(trained.data)
    with pytest.raises(InvalidValueError, match="featuresCol must be one of"):
        trained.model.copy().setFeaturesCol("nope").transform(trained.data)


def test_stages_can_be_made_without_arguments_but_an_empty_model_says_what_to_do(spark):
    assert "predictBatchSize" in NNModel().explainParams()
    with pytest.raises(InvalidValueError, match=r"from_bundle"):
        _ = NNModel().findings
    with pytest.raises(InvalidValueError, match="predictBatchSize"):
        NNModel().setPredictBatchSize(0)


def test_a_scored_frame_can_be_evaluated(trained):
    names = list(trained.model.findings)
    scored = trained.model.transform(trained.data)
    per_finding = RocAucEvaluator(findings=names).evaluatePerFinding(scored)
    assert set(per_finding) == {"Bright", "Left"}
    assert all(0 <= value <= 1 for value in per_finding.values())


def test_sql_predicts_in_select_and_where_as_transform_does(spark, trained, scored):
    register_predict(spark, trained.model, batch_size=5)
    trained.data.createOrReplaceTempView("radiographs")
    rows = spark.sql(
        "SELECT file_name, p.probabilities['Bright'] AS bright, p.probabilities['Left'] AS left_, "
        "p.error FROM (SELECT file_name, hilum_predict(image) AS p FROM radiographs)"
    ).collect()
    assert len(rows) == 28
    for name, bright, left, error in rows:
        if scored[name] is None:
            assert (bright, left, error) == (None, None, "no_image")
        else:
            np.testing.assert_allclose([bright, left], scored[name], atol=1e-6)
            assert error is None
    values = [value[0] for value in scored.values() if value is not None]
    middle = float(np.median(values)) + 1e-9
    found = spark.sql(
        "SELECT count(*) FROM radiographs "
        f"WHERE hilum_predict(image).probabilities['Bright'] > {middle}"
    ).first()[0]
    assert found == sum(value > middle + 1e-6 for value in values)


def test_a_sql_function_says_what_it_cannot_take(spark, trained):
    with pytest.raises(InvalidValueError, match="name must be letters"):
        register_predict(spark, trained.model, "drop table")
    with pytest.raises(InvalidValueError, match="batch_size must be positive"):
        register_predict(spark, trained.model, batch_size=0)
    register_predict(spark, trained.model)
    with pytest.raises(Exception, match=r"image must be a Spark image struct"):
        spark.sql("SELECT hilum_predict(named_struct('a', 1))").collect()
