"""From an ingested table to a bundle that knows its origin; and the same run again."""

import json

import pytest

from hilum.errors import InvalidValueError
from hilum.inference import load_bundle
from hilum.phantom import PhantomConfig, write_dataset
from hilum.recipes.data import SplitRule, label_and_split, parse_fractions
from hilum.recipes.ingest import ingest
from hilum.recipes.run import continue_training, run, train
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
    again = continue_training(spark, out, show_progress=False)
    assert again.history == fitted.history
    with pytest.raises(InvalidValueError, match="resume"):
        train(spark, data, out, estimator, RULE, source={})


def test_images_and_labels_without_a_common_name_are_refused(spark, phantoms, tmp_path):
    labels = tmp_path / "labels.csv"
    labels.write_text("Image Index,Finding Labels,Patient ID\nother.png,Mass,1\n")
    images = read_radiographs(spark, str(phantoms / "images"))
    with pytest.raises(InvalidValueError, match="none in common"):
        label_and_split(spark, images, str(labels), RULE)


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
