"""What went wrong in a Spark stage, in Hilum's words: the cause without what Spark wraps around it.

A user error must reach the user at once and must not be retried; a lost executor must be. Both
arrive as the same SparkException, so its text has to be read.
"""

import re

from hilum.errors import (
    HilumError,
    InvalidValueError,
    MissingDependencyError,
    RankLostError,
    TrainingError,
)

__all__ = ["as_hilum_error"]

_OURS = re.compile(
    r"hilum\.errors\.(TrainingError|RankLostError|InvalidValueError): "
    r"(.*?)(?=\n\s*at (?:org|java|scala)\.|\Z)",
    re.S,
)
_TASK = re.compile(r"barrier task ResultTask\(\d+, (\d+)\)")
# What Spark says of a task whose Python worker, executor or host went away.
_LOST = re.compile(
    r"(?:Python worker exited unexpectedly|ExecutorLostFailure \(|Executor heartbeat timed out"
    r"|Worker lost|FetchFailed|Connection reset|Broken pipe|Container killed|Remote RPC client)"
    r"[^\n]*"
)
_OTHER_PYTHON = re.compile(r"different version: (\d+\.\d+) than that in driver: (\d+\.\d+)")
_MISSING = re.compile(r"ModuleNotFoundError: No module named '([\w.]+)'")


def as_hilum_error(error: BaseException) -> BaseException:
    """The cause of a failed barrier stage; Ctrl-C and the like stay what they are."""
    if not isinstance(error, Exception) or isinstance(error, HilumError):
        return error
    text = str(error)
    found = _TASK.search(text)
    task = int(found.group(1)) if found else None
    if match := _OURS.search(text):
        kind, said = match.group(1), match.group(2).strip()
        if kind == "RankLostError":
            return RankLostError(said, task=task)
        return InvalidValueError(said) if kind == "InvalidValueError" else TrainingError(said)
    if match := _OTHER_PYTHON.search(text):
        return InvalidValueError(
            f"Python on executors must be {match.group(2)}, as on the driver. Got "
            f"{match.group(1)}. Hint: set PYSPARK_PYTHON to an interpreter of that version, "
            "at the same path on every host."
        )
    if match := _MISSING.search(text):
        return MissingDependencyError(
            f"Executors need the Python package {match.group(1)!r} and have none. Hint: install "
            "it on every host (`hilum[spark]` brings what Hilum needs), set PYSPARK_PYTHON to an "
            "environment that has it, or ship a module of your own with addArtifacts."
        )
    if match := _LOST.search(text):
        return RankLostError(match.group(0).strip().rstrip(":").strip(), task=task)
    return TrainingError(f"the Spark barrier stage failed: {text}")
