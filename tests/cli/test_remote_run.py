"""The main job with everything on S3, as a user types it: no path of this machine in it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hilum import storage
from hilum.phantom import PhantomConfig, write_dataset
from quick_java import QUICK_JAVA
from s3_server import s3_server

pytestmark = [pytest.mark.slow, pytest.mark.spark]

HILUM = Path(sys.executable).with_name("hilum")
PHANTOMS = PhantomConfig(size_px=64, seed=1, prevalence_scale=4.0, prevalence_floor=0.1)


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    with s3_server(tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.fixture(autouse=True)
def settings(s3, monkeypatch):
    for name, value in s3.variables.items():
        monkeypatch.setenv(name, value)


def test_images_labels_and_all_of_a_run_are_on_s3_and_predict_reads_it_back(s3, tmp_path, hilum):
    write_dataset(tmp_path / "data", 30, PHANTOMS)
    for file in (
        *sorted((tmp_path / "data/images").iterdir()),
        tmp_path / "data/Data_Entry_2017.csv",
    ):
        storage.write_bytes(s3.url(*file.relative_to(tmp_path).parts), file.read_bytes())
    work = tmp_path / "work"
    work.mkdir()
    command = [
        "run",
        "--images",
        s3.url("data/images"),
        "--labels",
        s3.url("data/Data_Entry_2017.csv"),
    ]
    command += ["--out", s3.url("run"), "--model", "timm:test_resnet", "--weights", "random"]
    command += [
        "--epochs",
        "1",
        "--image-size",
        "32",
        "--precision",
        "float32",
        "--closer-look",
        "0",
    ]
    done = subprocess.run(
        [str(HILUM), *command, "--master", "local[1]"],
        capture_output=True,
        text=True,
        cwd=work,
        env={**os.environ, "JDK_JAVA_OPTIONS": QUICK_JAVA},
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert not list(work.iterdir()), "nothing of it lies here"
    kept = {"bundle", "cache", "checkpoints", "history.json", "history.png", "job.json", "report"}
    assert kept <= set(storage.list_names(s3.url("run")))
    assert {"report.html", "predictions.csv"} <= set(storage.list_names(s3.url("run", "report")))
    assert not [name for name in storage.list_names(s3.url("run")) if name.startswith(".probe")]

    image = storage.list_files(s3.url("data/images"))[0].url
    answer = hilum("predict", s3.url("run/bundle"), image, "--format", "json")
    assert json.loads(answer.out)["status"] == "ok", answer.err
    facts = json.loads(hilum("info", s3.url("run/bundle"), "--format", "json").out)
    assert facts["provenance"]["source"]["images"] == s3.url("data/images")
    assert sum(split["images"] for split in facts["provenance"]["splits"]) == 30
