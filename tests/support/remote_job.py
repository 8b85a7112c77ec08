"""`hilum run` on storage that is no disk of this machine, as a user types it, and what it left."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from hilum import storage
from hilum.phantom import PhantomConfig, write_dataset
from quick_java import QUICK_JAVA

HILUM = Path(sys.executable).with_name("hilum")
PHANTOMS = PhantomConfig(size_px=64, seed=1, prevalence_scale=4.0, prevalence_floor=0.1)
KEPT = {"bundle", "cache", "checkpoints", "history.json", "history.png", "job.json", "report"}
SMALL = "--model timm:test_resnet --weights random --epochs 1 --image-size 32 --closer-look 0"


def upload_phantoms(folder: Path, root: str, count: int) -> None:
    """Phantom radiographs and their labels to ROOT/data."""
    data = folder / "data"
    write_dataset(data, count, PHANTOMS)
    for file in (*(data / "images").iterdir(), data / "Data_Entry_2017.csv"):
        url = storage.join(root, *file.relative_to(folder).parts)
        storage.write_bytes(url, file.read_bytes())


def installed_hilum(
    *arguments: str, cwd: Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    """What the installed command prints and returns, from its first import on."""
    return subprocess.run(
        [str(HILUM), *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "JDK_JAVA_OPTIONS": QUICK_JAVA, **variables},
        timeout=800,
        check=False,
    )


def run_remotely(
    root: str,
    work: Path,
    variables: Mapping[str, str],
    more: Sequence[str],
    *,
    hilum: Callable[..., subprocess.CompletedProcess[str]] = installed_hilum,
) -> subprocess.CompletedProcess[str]:
    """`hilum run` from ROOT/data to ROOT/run; `work` is where it is typed, and stays empty."""
    work.mkdir()
    labels = storage.join(root, "data", "Data_Entry_2017.csv")
    command = ["run", "--images", storage.join(root, "data/images"), "--labels", labels]
    command += ["--out", storage.join(root, "run"), "--precision", "float32", *SMALL.split()]
    done = hilum(*command, *more, cwd=work, **variables)
    assert done.returncode == 0, done.stderr[-6000:]
    assert not list(work.iterdir()), "nothing of it lies here"
    return done


def check_run(root: str) -> None:
    """All of a run is there, and no more."""
    run = storage.join(root, "run")
    names = storage.list_names(run)
    assert set(names) >= KEPT
    assert not [name for name in names if name.startswith(".")], "no probe and no half-written file"
    assert {"report.html", "predictions.csv"} <= set(
        storage.list_names(storage.join(run, "report"))
    )
    assert "manifest.json" in storage.list_names(storage.join(run, "bundle"))
