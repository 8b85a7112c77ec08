"""Spark Connect: a real server, and a client in a process of its own with no Java."""

import json
import os
import subprocess
import sys

import connect_client
from connect_server import connect_server
from hilum.inference import load_bundle


def test_reading_fitting_predicting_saving_and_pipelines_work_from_spark_connect(tmp_path):
    (elsewhere := tmp_path / "elsewhere").mkdir()
    with connect_server(tmp_path) as address:
        done = subprocess.run(
            [sys.executable, connect_client.__file__, address, str(tmp_path)],
            cwd=elsewhere,
            env=os.environ | {"JAVA_HOME": "/nowhere", "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            timeout=600,
        )
    assert done.returncode == 0, done.stderr[:4000]
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["remote"]
    assert seen["statuses"] == ["ok", "rejected"]
    assert seen["folds"] == 2
    assert len(seen["scores"]) == 12, "the rejected file was filtered in the pipeline"
    assert seen["scores_again"] == seen["scores"], "after saving and loading the pipeline"
    assert 0 <= seen["auroc"] <= 1
    assert seen["error_col"] == "second", "overwritten"
    assert seen["refused"], "what is there is not replaced without overwrite()"
    assert seen["history"] == 1
    assert seen["same_settings"]
    bundle = load_bundle(str(tmp_path / connect_client.MODEL / "bundle"))
    assert bundle.findings == tuple(connect_client.FINDINGS), "where Spark takes a path to be"
    assert list(elsewhere.iterdir()) == []
