"""Jars from Maven's repository, downloaded once into a folder that all test runs share."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

__all__ = ["JarsMissingError", "cache_folder", "jars"]

DOWNLOAD_S = 900
_PROJECT = """
<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>hilum</groupId><artifactId>tests</artifactId><version>1</version><dependencies>
{dependencies}
</dependencies></project>
"""
_DEPENDENCY = (
    "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>"
)


class JarsMissingError(Exception):
    """They cannot be had here; the message says why."""


def cache_folder() -> Path:
    """Where downloads are kept: HILUM_TEST_CACHE, else ~/.cache/hilum-tests."""
    chosen = os.environ.get("HILUM_TEST_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "hilum-tests"


def jars(name: str, artifacts: Sequence[str]) -> list[Path]:
    """Artifacts `group:name:version` and all that they need, in a folder of that name.

    Two processes that ask at once download once. The folder appears whole or not at all.

    Raises:
        JarsMissingError: no Maven, or no way to its repository.
    """
    folder = cache_folder() / name
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (folder.parent / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.is_dir():
                _download(folder, artifacts)
    return sorted(folder.glob("*.jar"))


def _download(folder: Path, artifacts: Sequence[str]) -> None:
    if shutil.which("mvn") is None:
        raise JarsMissingError("Maven fetches them: no mvn here")
    beside = folder.with_name(f"{folder.name}.{os.getpid()}")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    dependencies = "\n".join(_DEPENDENCY.format(*artifact.split(":")) for artifact in artifacts)
    (beside / "pom.xml").write_text(_PROJECT.format(dependencies=dependencies))
    command = ["mvn", "-q", "-B", "-f", str(beside / "pom.xml"), "dependency:copy-dependencies"]
    try:
        subprocess.run(
            [*command, f"-DoutputDirectory={beside}"],
            check=True,
            capture_output=True,
            timeout=DOWNLOAD_S,
        )
        beside.replace(folder)
    except (subprocess.SubprocessError, OSError) as error:
        said = getattr(error, "stdout", b"") or b""
        raise JarsMissingError(f"mvn: {error}: {said.decode()[-400:]}") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
