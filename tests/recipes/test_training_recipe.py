"""From an ingested table to a bundle that knows its origin; and the same run again."""

import json

import pytest

from hilum.errors import InvalidValueError
from hilum.evaluation import AtSpecificity
from hilum.findings import FINDINGS
from hilum.inference import ModelBundle, load_bundle, save_bundle
from hilum.models import build_classifier
from hilum.phantom import PhantomConfig, write_dataset
from hilum.preprocessing import radiograph_chain
from hilum.recipes.data import SplitRule, label_and_split, parse_fractions
from hilum.recipes.decision import unseen_validation
from hilum.recipes.ingest import ingest
from hilum.recipes.run import calibrate_bundle, continue_training, run, train
from hilum.spark import NNEstimator, read_radiographs

RULE = SplitRule(fractions={"train": 0.6, "valid": 0.2, "test": 0.2}, seed=2)


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    directory = tmp_path_factory.mktemp("phantoms")
    config = PhantomConfig(size_px=64, seed=1, prevalence_scale=4.0, prevalence_floor=0.1)
    write_dataset(directory, 30, config)
    return directory


@pytest.fixture(scope="module")
def estimator(spark):
    return NNEstimator(
        model="timm:test_resnet",
        weights="random",
        splitCol="split",
        imageSize=32,
        maxEpochs=1,
        showProgress=False,
    )


def test_an_ingested_table_trains_and_the_bundle_tells_its_origin(
    spark, phantoms, estimator, tmp_path
):
    table, out = str(tmp_path / "table"), str(tmp_path / "run")
    ingest(spark, str(phantoms / "images"), table, size=(40, 40))
    labels = str(phantoms / "Data_Entry_2017.csv")
    data = label_and_split(spark, spark.read.parquet(table), labels, RULE)
    assert sum(split.images for split in data.splits) == data.join.matched == 30
    fitted = train(spark, data, out, estimator, RULE, source={"data": table, "labels": labels})
    bundle = load_bundle(f"{out}/bundle")
    assert bundle.provenance["source"] == {"data": table, "labels": labels}
    assert bundle.provenance["split"]["seed"] == 2
    assert {split["name"] for split in bundle.provenance["splits"]} == {"train", "valid", "test"}
    assert bundle.outliers is not None
    measured = bundle.metrics["ood"]
    assert measured["images"] == bundle.provenance["images_per_split"]["valid"]
    assert set(measured["auroc"]) == set(measured["found"]) >= {"photographs", "inverted"}
    assert json.loads((tmp_path / "run/history.json").read_text()) == fitted.history.to_json()
    assert bundle.decision_rules == fitted.bundle.decision_rules
    again = continue_training(spark, out, show_progress=False)
    assert again.history == fitted.history
    assert again.bundle.provenance["decision_rules"] == bundle.provenance["decision_rules"]
    assert again.bundle.decision_rules == bundle.decision_rules
    with pytest.raises(InvalidValueError, match="resume"):
        train(spark, data, out, estimator, RULE, source={})


def test_a_bundle_is_calibrated_anew_on_other_images(spark, phantoms, tmp_path):
    network, _ = build_classifier("timm:test_resnet", len(FINDINGS), weights="random", seed=0)
    bundle = ModelBundle(
        architecture="timm:test_resnet",
        findings=FINDINGS,
        preprocessing=radiograph_chain(32, (0.5,) * 3, (0.25,) * 3),
        weights=network.state_dict(),
    )
    save_bundle(bundle, str(tmp_path / "old"))
    paths = (str(phantoms / "images"), str(phantoms / "Data_Entry_2017.csv"))
    said = []
    rule = AtSpecificity(specificity=0.8)
    arguments = (spark, str(tmp_path / "old"), *paths, str(tmp_path / "new"))
    calibrate_bundle(*arguments, rules=[rule], say=said.append)
    rules = load_bundle(str(tmp_path / "new")).decision_rules
    assert rules.images == 30
    assert rules.split == "all images given"
    assert rules.default.rule == rule
    assert any(rules.default.thresholds.values()), "with 30 images, some finding has a threshold"
    assert f"decision rules {rules}" in said
    with pytest.raises(InvalidValueError, match="without a bundle"):
        calibrate_bundle(*arguments, say=said.append)


def test_validation_patients_who_are_in_training_too_are_left_out(spark):
    rows = [("a", "1", "train"), ("b", "1", "valid"), ("c", "2", "valid"), ("d", None, "valid")]
    frame = spark.createDataFrame(rows, "path string, patient_id string, split string")
    assert {row["path"] for row in unseen_validation(frame).collect()} == {"c", "d"}


def test_images_and_labels_without_a_common_name_are_refused(spark, phantoms, tmp_path):
    labels = tmp_path / "labels.csv"
    labels.write_text("Image Index,Finding Labels,Patient ID\nother.png,Mass,1\n")
    images = read_radiographs(spark, str(phantoms / "images"))
    with pytest.raises(InvalidValueError, match="none in common"):
        label_and_split(spark, images, str(labels), RULE)


def test_a_label_table_that_was_rewritten_is_read_again_in_the_same_session(spark, tmp_path):
    images = spark.createDataFrame(
        [("a.png", "/a.png"), ("b.png", "/b.png")], "file_name string, path string"
    )
    table = tmp_path / "labels.csv"
    header = "Image Index,Finding Labels,Patient ID\n"

    def positives(content):
        table.write_text(header + content)
        data = label_and_split(spark, images, str(table), RULE)
        joined = data.frame.filter("exists(labels, x -> x = 1)")
        return data.label_counts["Mass"], joined.count(), data.labels.count()

    with pytest.raises(InvalidValueError, match="none in common"):
        positives("other.png,Mass,1\n")
    assert positives("a.png,No Finding,1\nb.png,No Finding,2\n") == (0, 0, 2)
    assert positives("a.png,Mass,1\n") == (1, 1, 1)


def test_a_run_directory_is_never_reused(spark, phantoms, estimator, tmp_path):
    (tmp_path / "job.json").write_text("{}")
    with pytest.raises(InvalidValueError, match="resume"):
        run(spark, "images", "labels", str(tmp_path), estimator, RULE, say=print)


def test_fractions_are_read_in_the_order_train_valid_test():
    assert parse_fractions("0.7,0.1, 0.2") == {"train": 0.7, "valid": 0.1, "test": 0.2}


@pytest.mark.parametrize("text", ["", "0.7,0.3", "a,b,c", "0.5,0.2,0.2,0.1"])
def test_other_fractions_are_refused(text):
    with pytest.raises(InvalidValueError, match=r"--split-fractions 0\.7,0\.1,0\.2"):
        parse_fractions(text)
