"""Talks to `cluster_driver.py`: begin a job, read its answer, and leave no process behind."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import hilum
from image_files import picture, png, write_files
from quick_java import QUICK_JAVA
from standalone import end_group

START = """
import runpy, sys
sys.path.insert(0, sys.argv[1])
del sys.argv[:2]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
DRIVER = Path(__file__).with_name("cluster_driver.py")
PACKAGES = str(Path(torch.__file__).parents[1])
JAVA = QUICK_JAVA
# Executors of the tests: small, quick to start, and with this machine's packages but not Hilum,
# which is only linked into them (an entry of PYTHONPATH reads no .pth files).
EXECUTORS = {
    "spark.executor.memory": "512m",
    "spark.executor.extraJavaOptions": JAVA,
    "spark.executorEnv.PYTHONPATH": PACKAGES,
    "spark.executorEnv.OMP_NUM_THREADS": "1",
}


@dataclass(frozen=True)
class Driver:
    """The process that holds the session."""

    process: subprocess.Popen[str]
    log: Path

    def begin(self, **job: Any) -> None:
        print(json.dumps(job), file=self.process.stdin, flush=True)

    def answer(self) -> dict[str, Any]:
        line = self.process.stdout.readline()
        assert line, self.said()
        return json.loads(line)

    def ask(self, **job: Any) -> Any:
        self.begin(**job)
        answer = self.answer()
        assert "answer" in answer, f"{answer}\n{self.said()}"
        return answer["answer"]

    def said(self) -> str:
        return self.log.read_text()[-6000:]


@contextmanager
def driver(
    folder: Path, master: str, environment: Path | None, more: Mapping[str, str], **variables: str
) -> Iterator[Driver]:
    """A session on a master; `more` are Spark settings, `variables` of the driver's environment."""
    packed = None if environment is None else str(environment)
    settings = {"master": master, "environment": packed, "config": EXECUTORS | dict(more)}
    text = json.dumps(settings)
    # YARN gives the driver's PYTHONPATH to its containers, and Hilum's source might be on it.
    environment_of_driver = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment_of_driver["JDK_JAVA_OPTIONS"] = JAVA
    log = folder / "driver.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", START, str(Path(hilum.__file__).parents[1]), str(DRIVER), text],
            env=environment_of_driver | variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
            start_new_session=True,
        )
    try:
        yield Driver(process, log)
        process.stdin.close()
        assert process.wait(60) == 0, log.read_text()[-6000:]
    finally:
        end_group(process)
        process.stdout.close()


def write_images(folder: Path) -> Path:
    """Eight small pictures, 00.png to 07.png."""
    return write_files(folder, {f"{i:02d}.png": png(picture(i, 36, 36)) for i in range(8)})
