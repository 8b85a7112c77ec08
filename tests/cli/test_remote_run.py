"""The main job with everything on S3, as a user types it: no path of this machine in it."""

import json

import pytest

from hilum import storage
from remote_job import check_run, run_remotely, upload_phantoms
from s3_server import s3_server

pytestmark = [pytest.mark.slow, pytest.mark.spark]


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    with s3_server(tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.fixture(autouse=True)
def _settings(s3, monkeypatch):
    for name, value in s3.variables.items():
        monkeypatch.setenv(name, value)


def test_images_labels_and_all_of_a_run_are_on_s3_and_predict_reads_it_back(s3, tmp_path, hilum):
    upload_phantoms(tmp_path, s3.root, 30)
    run_remotely(s3.root, tmp_path / "work", {}, ["--master", "local[1]"])
    check_run(s3.root)
    image = storage.list_files(s3.url("data/images"))[0].url
    answer = hilum("predict", s3.url("run/bundle"), image, "--format", "json")
    assert json.loads(answer.out)["status"] == "ok", answer.err
    facts = json.loads(hilum("info", s3.url("run/bundle"), "--format", "json").out)
    assert facts["provenance"]["source"]["images"] == s3.url("data/images")
    assert sum(split["images"] for split in facts["provenance"]["splits"]) == 30


def test_what_is_wrong_with_storage_is_said_before_any_work(s3, hilum, monkeypatch):
    answer = hilum("run", "--images", s3.url("x"), "--labels", "x.csv", "--out", "s3://none/run")
    assert answer.code == 1
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    answer = hilum("info", s3.url("run/bundle"))
    assert answer.code == 1
    assert "AWS_SECRET_ACCESS_KEY" in answer.err
