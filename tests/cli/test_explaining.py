"""`hilum explain`, `hilum localise` and `hilum robustness`: pictures and figures on disk."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from hilum.errors import InvalidValueError
from hilum.inference import Predictor, embed, fit_outlier_detector, load_bundle, save_bundle
from hilum.phantom import PhantomConfig, write_dataset
from image_files import dicom, encoded, picture, png, write_files


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    directory = tmp_path_factory.mktemp("phantoms")
    config = PhantomConfig(size_px=64, seed=1, prevalence_scale=4.0, prevalence_floor=0.2)
    write_dataset(directory, 12, config)
    return directory


@pytest.mark.parametrize("form", ["a.png", "b.jpg", "c.dcm"])
def test_every_format_is_explained_and_says_where_the_picture_is(
    hilum, bundle_directory, tmp_path, form
):
    pixels = picture(1, 64, 64)
    jpeg = encoded(Image.fromarray(pixels), "JPEG")
    write_files(tmp_path, {"a.png": png(pixels), "b.jpg": jpeg, "c.dcm": dicom(pixels)})
    out = tmp_path / "pictures" / "out.png"
    answer = hilum("explain", bundle_directory, tmp_path / form, "--out", out)
    assert answer.code == 0, answer.err
    assert f"picture: {out}" in answer.out
    assert answer.out.count("%") == 2, "both findings of the model"
    with Image.open(out) as image:
        assert image.format == "PNG"
        assert image.width > 600


def test_one_finding_by_occlusion_in_the_current_folder(
    hilum, bundle_directory, tmp_path, monkeypatch
):
    write_files(tmp_path, {"patient.png": png(picture(1, 40, 30))})
    monkeypatch.chdir(tmp_path)
    options = ("--finding", "pleural thickening", "--method", "occlusion")
    answer = hilum("explain", bundle_directory, "patient.png", *options)
    assert answer.code == 0, answer.err
    assert answer.out.startswith("Pleural_Thickening: ")
    assert (tmp_path / "patient-explained.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere.png",), "nowhere.png"),
        (("text.png",), "not_an_image"),
        (("a.png", "--finding", "Fever"), "Fever"),
        (("a.png", "--method", "magic"), "grad-cam, occlusion"),
    ],
)
def test_what_cannot_be_explained_is_said(hilum, bundle_directory, tmp_path, arguments, said):
    write_files(tmp_path, {"a.png": png(picture(1)), "text.png": b"patient was not there"})
    file, *options = arguments
    answer = hilum("explain", bundle_directory, tmp_path / file, *options)
    assert answer.code == 1
    assert said in answer.err
    assert "Traceback" not in answer.err


def test_boxes_are_found_by_name_and_scaled(hilum, bundle_directory, phantoms, tmp_path):
    out = tmp_path / "boxes.json"
    table = phantoms / "BBox_List_2017.csv"
    arguments = ("--images", phantoms / "images", "--boxes", table, "--frame-px", 64, "--out", out)
    answer = hilum("localise", bundle_directory, *arguments)
    assert answer.code == 0, answer.err
    report = json.loads(out.read_text())
    assert report["overall"]["maps"] == sum(one["maps"] for one in report["findings"].values())
    assert set(report["findings"]) <= {"Pneumonia", "Pleural_Thickening"}
    assert 0 < report["overall"]["chance"] < 1
    assert "chance" in answer.out
    nothing = hilum("localise", bundle_directory, "--images", tmp_path, "--boxes", table)
    assert nothing.code == 1
    assert "--images" in nothing.err


@pytest.mark.spark
def test_robustness_is_measured_on_labelled_images(spark, bundle_directory, phantoms, tmp_path):
    from hilum.recipes.robustness import robustness_of_bundle

    names = sorted(file.name for file in (phantoms / "images").iterdir())
    labels = tmp_path / "labels.csv"
    rows = [f"{n},{'Pneumonia' if i % 2 else 'No Finding'},{i}" for i, n in enumerate(names)]
    labels.write_text("\n".join(["Image Index,Finding Labels,Patient ID", *rows]))
    with pytest.raises(InvalidValueError, match="--out must be"):  # before anything is read
        robustness_of_bundle(spark, "no-bundle", "no-images", "no-labels", str(labels / "out"))
    found = robustness_of_bundle(
        spark,
        str(bundle_directory),
        str(phantoms / "images"),
        str(labels),
        str(tmp_path),
        max_images=3,
    )
    assert found.num_images == 3
    assert json.loads((tmp_path / "robustness.json").read_text())["num_images"] == 3
    with Image.open(tmp_path / "robustness.png") as image:
        assert image.width > 1000


def test_an_image_unlike_the_training_radiographs_is_warned_of(hilum, bundle_directory, tmp_path):
    bundle = load_bundle(str(bundle_directory))
    ramp = np.arange(40, dtype=np.uint8)
    smooth = [np.tile(ramp, (40, 1)) + np.uint8(60 + i) for i in range(48)]
    features = embed(Predictor.load(bundle), smooth)
    detector = fit_outlier_detector(features[::2], features[1::2])
    save_bundle(replace(bundle, outliers=detector), str(tmp_path / "bundle"))
    files = {"usual.png": png(smooth[24]), "noise.png": png(picture(1, 64, 64))}
    write_files(tmp_path, files)
    arguments = ("predict", tmp_path / "bundle", tmp_path / "noise.png", tmp_path / "usual.png")
    answer = hilum(*arguments, "--format", "json")
    noise, usual = (json.loads(line)["ood_score"] for line in answer.out.splitlines())
    assert noise > 1 > usual
    table = hilum(*arguments).out.replace("\n", " ")
    assert table.count("unlike the radiographs of training") == 1
    without = hilum("predict", bundle_directory, tmp_path / "usual.png")
    assert "no out-of-distribution score" in without.err
