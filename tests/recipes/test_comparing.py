"""Two models on the same images: from bundles, from CSV files, and what is refused."""

import json

import pytest

from hilum.errors import InvalidValueError
from hilum.evaluation.comparison_result import Comparison
from hilum.inference import ModelBundle, save_bundle
from hilum.models import build_classifier
from hilum.phantom import PhantomConfig, write_dataset
from hilum.preprocessing import radiograph_chain
from hilum.recipes.comparing import compare_bundles, compare_predictions
from hilum.recipes.run import evaluate_bundle

FINDINGS = ("Effusion", "Mass", "Edema")


def write_bundle(folder, *, seed, findings=FINDINGS, split_seed=0):
    model, _ = build_classifier("timm:test_resnet", len(findings), weights="random", seed=seed)
    split = {"by": "image", "fractions": {"train": 0.5, "test": 0.5}, "seed": split_seed}
    bundle = ModelBundle(
        architecture="timm:test_resnet",
        findings=findings,
        preprocessing=radiograph_chain(32, (0.5,) * 3, (0.25,) * 3),
        weights=model.state_dict(),
        provenance={"split": split | {"listed_in": None}},
    )
    save_bundle(bundle, str(folder / "bundle"))
    return str(folder / "bundle")


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("comparing")
    config = PhantomConfig(size_px=64, seed=1, prevalence_scale=4.0, prevalence_floor=0.3)
    write_dataset(folder, 40, config)
    write_bundle(folder / "first", seed=1)
    write_bundle(folder / "second", seed=2, findings=("Edema", "Hernia", "Effusion"))
    write_bundle(folder / "third", seed=3, split_seed=1)
    return folder


@pytest.fixture(scope="module")
def compared(spark, work):
    said = []
    result = compare_bundles(
        spark,
        *(str(work / name / "bundle") for name in ("first", "second")),
        str(work / "images"),
        str(work / "Data_Entry_2017.csv"),
        str(work / "out"),
        say=said.append,
    )
    return result, said


def test_findings_that_both_have_are_compared_and_the_others_named(compared):
    result, said = compared
    assert list(result.findings) == ["Effusion", "Edema"]
    assert result.names == ("first", "second")
    assert result.num_images == 40
    told = " ".join(said)
    assert "only first has them: Mass" in told
    assert "only second has them: Hernia" in told
    assert any("--split test" in note for note in result.notes)


def test_json_csv_and_a_page_that_needs_nothing_else_are_written(compared, work):
    result, _ = compared
    assert Comparison.from_json((work / "out/comparison.json").read_text()) == result
    assert (work / "out/comparison.csv").read_text() == result.to_csv()
    page = (work / "out/comparison.html").read_text()
    assert "first" in page
    assert "data:image/svg+xml" in page
    assert "http" not in page.replace("http-equiv", "")
    assert f"{result.mean.difference:+.3f}" in page


def test_prediction_files_of_the_same_models_give_the_same_comparison(spark, work, compared):
    result, _ = compared
    table = str(work / "Data_Entry_2017.csv")
    for name in ("first", "second"):
        bundle = str(work / name / "bundle")
        out = str(work / name / "report")
        places = (str(work / "images"), table, out)
        evaluate_bundle(spark, bundle, *places, closer_look=0, say=lambda line: None)
    files = [str(work / name / "report/predictions.csv") for name in ("first", "second")]
    again = compare_predictions(spark, *files, table, str(work / "again"), say=lambda line: None)
    for name, row in result.findings.items():
        assert again.findings[name].difference == pytest.approx(row.difference, abs=1e-3)
        assert again.findings[name].p_value == pytest.approx(row.p_value, abs=1e-2)


def test_a_split_must_mean_the_same_for_both(spark, work):
    bundles = [str(work / name / "bundle") for name in ("first", "third")]
    places = (str(work / "images"), str(work / "Data_Entry_2017.csv"), str(work / "no"))
    with pytest.raises(InvalidValueError, match="one and the same split"):
        compare_bundles(spark, *bundles, *places, split="test", say=print)


def test_an_evaluated_split_counts_patients_who_were_also_trained_on(spark, work):
    places = (str(work / "images"), str(work / "Data_Entry_2017.csv"), str(work / "leak"))
    bundle = str(work / "first/bundle")
    with pytest.warns(UserWarning, match="more than one split"):
        evaluate_bundle(spark, bundle, *places, split="test", closer_look=0, say=lambda line: None)
    assert "Also in the training images" in (work / "leak/report.html").read_text()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("file_name,Mass\na.png,high\n", "number per finding"),
        ("file_name,Mass\na.png,0.1\nx/a.png,0.2\n", "once"),
        ("name,Mass\na.png,0.1\n", "file_name or path"),
        ("file_name,Aneurysm\na.png,0.1\n", "finding in common"),
        ("path,status,reason,Mass\nnowhere.png,ok,,0.1\n", "none in common"),
    ],
)
def test_prediction_files_that_cannot_be_compared_are_refused(spark, work, tmp_path, content, said):
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    good.write_text("file_name,Mass\n00000001_000.png,0.5\n")
    bad.write_text(content)
    with pytest.raises(InvalidValueError, match=said):
        compare_predictions(
            spark,
            str(good),
            str(bad),
            str(work / "Data_Entry_2017.csv"),
            str(tmp_path / "out"),
            say=lambda line: None,
        )


def test_the_json_has_no_nan(work, compared):
    text = (work / "out/comparison.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["findings"]
