"""On what a run was made: versions, machine, Spark, commit and command, for RUN/environment.json.

The file travels with results, so it says nothing about people: the home directory is written as
`~`, the user's name as `<user>`, and what authenticates is left out of addresses and options.
"""

import getpass
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from hilum import storage

__all__ = [
    "command_line",
    "describe_environment",
    "describe_machine",
    "git_state",
    "without_credentials",
    "write_environment",
    "write_leader_machine",
]

PACKAGES = (
    *("hilum", "torch", "torchvision", "timm", "numpy", "pandas", "pyarrow", "pyspark"),
    *("pydicom", "fsspec", "safetensors", "scikit-learn", "matplotlib", "tensorboard"),
    "mlflow-skinny",
)
GIT_TIMEOUT_S = 5.0
_FILE = "environment.json"
# --token=..., --api-key ...; what follows is nobody's business.
_SECRET = re.compile(r"(?i)(token|secret|password|passwd|api[-_]?key|credential)")


def write_environment(run_directory: str, spark: Mapping[str, Any] | None = None) -> None:
    """Write RUN/environment.json from where the run is started."""
    storage.write_json(storage.join(run_directory, _FILE), describe_environment(spark))


def write_leader_machine(run_directory: str) -> None:
    """Add the machine rank 0 computes on to RUN/environment.json; makes the file if need be."""
    url = storage.join(run_directory, _FILE)
    found = storage.read_json(url) if storage.exists(url) else describe_environment()
    found["leader"] = describe_machine() | {"versions": _versions()}
    storage.write_json(url, found)


def describe_environment(spark: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what a reader needs to make the run again, as plain JSON values.

    Args:
        spark: what the caller knows of its session: version, master, executors, ...
    """
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command_line(sys.argv),
        "versions": _versions(),
        "driver": describe_machine(),
        "spark": dict(spark) if spark is not None else None,
        "git": git_state(Path.cwd()),
    }


def describe_machine() -> dict[str, Any]:
    """Return the processor, memory and GPUs of this machine."""
    gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": _cores(),
        "memory_gib": _memory_gib(),
        "gpus": [
            {"name": gpu.name, "memory_gib": round(gpu.total_memory / 2**30, 1)} for gpu in gpus
        ],
    }


def command_line(arguments: Sequence[str]) -> str:
    """Return the command as it was typed, without what names people or opens doors.

    >>> command_line(["/usr/bin/hilum", "run", "--out", "s3://key:pass@bucket/run"])
    'hilum run --out s3://bucket/run'
    """
    if not arguments or arguments[0] in ("", "-c"):
        return "python"
    program = Path(arguments[0]).name
    if program.startswith(("ipykernel", "colab_kernel")):  # its arguments are a connection file
        return "notebook"
    words = [program]
    hide = False
    for argument in arguments[1:]:
        words.append("<hidden>" if hide else _impersonal(argument))
        hide = argument.startswith("-") and "=" not in argument and bool(_SECRET.search(argument))
    return " ".join(f'"{word}"' if re.search(r"\s", word) else word for word in words)


def without_credentials(url: str) -> str:
    """Return the address without the user and password in front of its host."""
    return re.sub(r"(\w+://)[^/@\s]*@", r"\1", url)


def git_state(directory: Path) -> dict[str, Any] | None:
    """Return {"commit", "changed"} of the checkout a directory lies in, or None outside of one."""
    commit = _git(directory, "rev-parse", "HEAD")
    if not commit:
        return None
    changes = _git(directory, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "changed": None if changes is None else bool(changes)}


def _git(directory: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(directory), *arguments],
            capture_output=True,
            text=True,
            timeout=GIT_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or platform.machine()
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.M)
    return match.group(1).strip() if match else platform.machine()


def _cores() -> int:
    """Cores this process may use: fewer than the machine has where it was given some of them."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory_gib() -> float | None:
    """Memory this process may use: the machine's, or less in a container."""
    limits = []
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            limits.append(int(Path(path).read_text(encoding="ascii")))
        except (OSError, ValueError):  # "max" is no limit
            continue
    return round(min(limits) / 2**30, 1) if limits else None


def _impersonal(argument: str) -> str:
    option, equals, _ = argument.partition("=")
    if equals and option.startswith("-") and _SECRET.search(option):
        return f"{option}=<hidden>"
    text = without_credentials(argument)
    home = str(Path.home())
    if len(home) > 1:
        text = re.sub(rf"(?<![\w/]){re.escape(home)}(?=/|$)", "~", text)
    user = _user()
    return re.sub(rf"(?<![\w.-]){re.escape(user)}(?![\w.-])", "<user>", text) if user else text


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # an unnamed user of a container
        return ""
