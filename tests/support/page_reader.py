"""Runs the Python of documentation pages one after another, as one reader with one session.

    page_reader.py                     in a folder with the pages' data

{"page": "README.md", "code": ..., "master": "local[2]" or null}     a line per page, answered by
{"failed": null}                                                     or by its traceback

Java, torch and Spark's workers are started once for all pages. That is why this is a process of its
own: relative paths are those of the folder that Java was started in.
"""

import json
import os
import re
import shutil
import sys
import traceback
from pathlib import Path

from pyspark.sql import SparkSession

from hilum.spark import local_session  # noqa: F401 - imported once, before the first page

STOP = SparkSession.stop
THREADS = re.compile(r"local(\[(\d+|\*)\])?")


def read(page: str, code: str, master: str | None) -> str | None:
    """Run a page's code; its traceback, with the lines of the page, if it failed."""
    running = SparkSession.getActiveSession()
    if running is not None and master is not None:
        give_master(running, master)
    kept = set(Path.cwd().iterdir())
    try:
        exec(compile(code, page, "exec"), {"__name__": "__main__"})
    except BaseException:
        return traceback.format_exc()
    finally:
        for path in set(Path.cwd().iterdir()) - kept:  # the next page starts where this one did
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return None


def give_master(running: SparkSession, master: str) -> None:
    """Let a page have its master: by name among threads of this process, else by a new session."""
    found = running.sparkContext.master
    if THREADS.fullmatch(found) and THREADS.fullmatch(master):
        # Pages come in any order, and "local[*]" and "local[2]" differ in nothing that they show.
        running.conf.set("spark.master", master)
    elif found != master:
        STOP(running)


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    sys.path.insert(0, str(Path.cwd()))  # as for a script in that folder
    os.dup2(2, 1)  # what pages print is no answer
    SparkSession.stop = lambda session: None  # a page may stop its session; the next one has it
    for line in sys.stdin:
        failed = read(**json.loads(line))
        print(json.dumps({"failed": failed}), file=answers, flush=True)
    running = SparkSession.getActiveSession()
    if running is not None:
        STOP(running)


if __name__ == "__main__":
    main()
