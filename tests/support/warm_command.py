"""`hilum ...` and scripts in processes forked from one that has imported Hilum.

A command of seconds spends most of them importing torch, torchvision and Spark ML, once for each of
the tests' forty commands. Here the import is paid once. All else is as in a shell: a process, a
folder, an environment and an exit code of its own. The installed command itself is run by those
tests that kill and interrupt it.
"""

import atexit
import os
import runpy
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path

from quick_java import QUICK_JAVA

__all__ = ["run_hilum", "run_script"]

# A test process has one such server, for commands and for ranks: what either of them imports.
PRELOADED = [
    *("hilum.cli.main", "hilum.spark", "hilum.recipes.run", "torchvision", "timm"),
    "hilum.training.preload",
]
LIMIT_S = 600.0  # against a hang, not a measure


def run_hilum(*arguments: object, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """What `hilum ARGUMENTS` prints and returns in a folder."""
    return _run(None, [str(argument) for argument in arguments], cwd, variables)


def run_script(
    path: Path, *arguments: object, cwd: Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    """What `python PATH ARGUMENTS` prints and returns in a folder."""
    return _run(path, [str(argument) for argument in arguments], cwd, variables)


def _run(
    path: Path | None, arguments: list[str], cwd: Path, variables: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    context = get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    environment = {**os.environ, "JDK_JAVA_OPTIONS": QUICK_JAVA, **variables}
    with tempfile.TemporaryDirectory() as folder:
        said = [Path(folder, name) for name in ("stdout", "stderr")]
        process = context.Process(
            target=_command, args=(path, arguments, str(cwd), environment, said)
        )
        process.start()
        process.join(LIMIT_S)
        if process.exitcode is None:
            process.kill()
            process.join()
        out, errors = (file.read_text(encoding="utf-8") for file in said)
    command = [str(path or "hilum"), *arguments]
    return subprocess.CompletedProcess(command, process.exitcode, out, errors)


def _command(
    path: Path | None,
    arguments: Sequence[str],
    cwd: str,
    environment: dict[str, str],
    said: Sequence[Path],
) -> None:
    """Runs in the forked process."""
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    for descriptor, file in zip((1, 2), said, strict=True):
        opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.argv = [str(path or "hilum"), *arguments]
    code: object = 0
    try:
        if path is None:
            from hilum.cli.main import app

            app()
        else:
            sys.path.insert(0, str(path.parent))
            runpy.run_path(str(path), run_name="__main__")
    except SystemExit as ended:
        code = ended.code
        if isinstance(code, str):
            print(code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()  # what a forked process of multiprocessing leaves out
    sys.exit(code if isinstance(code, int) else code is not None)
