"""The main job with everything on S3, as a user types it: no path of this machine in it."""

import json

import pytest

from hilum import storage
from remote_job import check_run, run_remotely, upload_phantoms
from s3_server import s3_server
from warm_command import run_hilum

pytestmark = [pytest.mark.slow, pytest.mark.spark]


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    with s3_server(tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.fixture(autouse=True)
def _settings(s3, monkeypatch):
    for name, value in s3.variables.items():
        monkeypatch.setenv(name, value)


def test_images_labels_and_all_of_a_run_are_on_s3_and_commands_read_it_back(
    s3, tmp_path, hilum, monkeypatch
):
    upload_phantoms(tmp_path, s3.root, 24)
    run_remotely(s3.root, tmp_path / "work", {}, ["--master", "local[1]"], hilum=run_hilum)
    check_run(s3.root)
    bundle, images = s3.url("run", "bundle"), s3.url("data", "images")
    answer = hilum("predict", bundle, images, "--format", "json")
    rows = [json.loads(line) for line in answer.out.splitlines()]
    assert {row["status"] for row in rows} == {"ok"}, answer.err
    assert [row["path"] for row in rows] == [file.url for file in storage.list_files(images)]
    assert len(rows) == 24
    facts = json.loads(hilum("info", bundle, "--format", "json").out)
    assert facts["provenance"]["source"]["images"] == images
    assert sum(split["images"] for split in facts["provenance"]["splits"]) == 24

    picture = s3.url("explained.png")
    assert hilum("explain", bundle, rows[0]["path"], "--out", picture).code == 0
    assert storage.read_bytes(picture).startswith(b"\x89PNG")
    assert hilum("export", bundle, "--to", "safetensors").code == 0
    assert "model.safetensors" in storage.list_names(s3.url("run"))
    (run,) = json.loads(hilum("leaderboard", s3.url("run"), "--format", "json").out)["runs"]
    assert run["name"] == s3.url("run")

    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    answer = hilum("info", bundle)
    assert answer.code == 1
    assert answer.err.startswith(f"hilum: CredentialsError: {bundle}/manifest.json: ")
    assert "AWS_SECRET_ACCESS_KEY" in answer.err
