"""Spark Connect: a real server, and a client in a process of its own with no Java."""

import json
import os
import subprocess
import sys
from pathlib import Path

import connect_client
from connect_server import connect_server
from hilum.inference import load_bundle
from warm_python import WARM_PYTHON


def test_reading_fitting_predicting_saving_and_pipelines_work_from_spark_connect(tmp_path):
    with connect_server(tmp_path, WARM_PYTHON) as address:
        done = subprocess.run(
            [sys.executable, connect_client.__file__, address, str(tmp_path)],
            env=os.environ | {"JAVA_HOME": "/nowhere", "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            timeout=600,
        )
    log = (tmp_path / "connect.log").read_text(errors="replace")
    assert done.returncode == 0, done.stderr[-4000:] + log[-4000:]
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
    bundle = load_bundle(str(tmp_path / "model/bundle"))
    assert bundle.findings == tuple(connect_client.FINDINGS)
    assert not list(Path(tmp_path).glob("spark-warehouse"))
