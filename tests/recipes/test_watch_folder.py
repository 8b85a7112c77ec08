"""A watched folder: a process that is killed in the middle, started again, and every file once."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.dataset
import pytest

from hilum.errors import InvalidValueError
from hilum.findings import FINDINGS
from hilum.inference import ModelBundle, save_bundle
from hilum.models import architecture, build_classifier
from hilum.preprocessing import radiograph_chain
from hilum.recipes.watch_folder import CHECKPOINT, watch_folder
from hilum.spark import NNModel, stream_radiographs
from image_files import picture, png
from processes import processes_of
from quick_java import QUICK_JAVA

pytestmark = pytest.mark.spark

HILUM = Path(sys.executable).with_name("hilum")
WAIT_S = 120
FILES = 12


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> ModelBundle:
    net = architecture("timm:test_resnet")
    network, _ = build_classifier(net, len(FINDINGS), weights="random")
    return ModelBundle(
        architecture=net.name,
        findings=FINDINGS,
        preprocessing=radiograph_chain(32, net.mean, net.std),
        weights=network.state_dict(),
    )


def arrive(folder: Path, numbers: range) -> None:
    """Radiographs as a careful sender writes them: under a hidden name, then renamed."""
    for number in numbers:
        hidden = folder / f".{number}.part"
        hidden.write_bytes(b"no image" if number == 3 else png(picture(number, 40, 36)))
        hidden.rename(folder / f"{number:02d}.png")


def table(out: Path) -> list[dict]:
    """The rows, as a reader that knows nothing of Spark finds them."""
    return (
        pyarrow.dataset.dataset(out, format="parquet", partitioning="hive").to_table().to_pylist()
    )


def test_a_killed_watch_goes_on_and_counts_every_file_once(spark, bundle, tmp_path):
    inbox, out = tmp_path / "inbox", tmp_path / "table"
    inbox.mkdir()
    save_bundle(bundle, str(tmp_path / "bundle"))
    arrive(inbox, range(FILES))
    command = [str(HILUM), "watch", str(inbox), str(tmp_path / "bundle"), "--out", str(out)]
    command += ["--files-per-batch", "4", "--every", "0.1", "--master", "local[1]"]
    with (tmp_path / "said").open("w") as said:
        started = subprocess.Popen(
            command,
            env={**os.environ, "JDK_JAVA_OPTIONS": QUICK_JAVA},
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + WAIT_S
        # The second batch has begun to be written: it is half done, or done and not committed.
        while not (out / "batch=1").exists():
            assert started.poll() is None, (tmp_path / "said").read_text()
            assert time.monotonic() < deadline, "no batch was written"
            time.sleep(0.01)
    finally:
        for number in {started.pid, *processes_of(started.pid)}:
            os.kill(number, signal.SIGKILL)
        started.wait()
    before = len(list((out / CHECKPOINT / "commits").glob("[0-9]*")))
    assert before < 3, "it was killed too late to prove anything"
    arrive(inbox, range(FILES, FILES + 2))
    said: list[str] = []
    model = NNModel(bundle)
    rows = watch_folder(
        spark, str(inbox), model, str(out), files_per_batch=5, once=True, say=said.append
    )
    assert rows >= FILES + 2 - 4 * (before + 1)
    assert said[0].startswith(f"batch {before}: ")
    found = table(out)
    assert sorted(row["file_name"] for row in found) == [f"{n:02d}.png" for n in range(FILES + 2)]
    for row in found:
        if row["file_name"] == "03.png":
            assert (row["reason"], row["error"]) == ("not_an_image", "no_image")
            assert row["probabilities"] is None
        else:
            assert [name for name, _ in row["probabilities"]] == list(FINDINGS)
    assert watch_folder(spark, str(inbox), model, str(out), once=True) == 0
    assert len(table(out)) == FILES + 2


def test_a_folder_that_is_not_there_is_said_at_once(spark, bundle, tmp_path):
    with pytest.raises(InvalidValueError, match="path must be a directory that exists"):
        stream_radiographs(spark, str(tmp_path / "nothing"))
    with pytest.raises(InvalidValueError, match="files_per_batch must be positive"):
        stream_radiographs(spark, str(tmp_path), files_per_batch=0)
    with pytest.raises(InvalidValueError, match="every_s must be positive"):
        watch_folder(spark, str(tmp_path), NNModel(bundle), str(tmp_path / "out"), every_s=0)
