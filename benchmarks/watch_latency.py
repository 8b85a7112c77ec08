"""How long a radiograph waits that comes into a watched folder: `hilum watch`, as a user starts it.

    .venv/bin/python benchmarks/watch_latency.py [--files 60] [--per-second 2] [--every 0.5]

Phantom radiographs of 1024 px appear at a steady rate, each renamed when it is whole. A file's
latency is from that rename to the moment at which a reader of the Parquet table can find its row
(the `_SUCCESS` of its batch). Beside it stands what the same files cost without Spark, one after
another: `Predictor` in one process with one thread, as a worker of Spark has. Prints JSON.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.dataset
import torch
from transform_memory import bundle_of

from hilum.decoding import decode
from hilum.inference import ModelBundle, Predictor, save_bundle
from hilum.phantom import PhantomConfig, write_dataset

HILUM = Path(sys.executable).with_name("hilum")
POLL_S = 0.02
LIMIT_S = 300.0


def arrive(source: Path, inbox: Path, name: str) -> float:
    """A file as a careful sender writes it; when it was whole."""
    hidden = inbox / f".{name}"
    shutil.copyfile(source, hidden)
    hidden.rename(inbox / name)
    return time.time()


def readable(table: Path, known: set[str]) -> dict[str, float]:
    """Files in batches that a reader finds now and did not before, and the time of now."""
    found: dict[str, float] = {}
    for folder in table.glob("batch=*"):
        if folder.name not in known and (folder / "_SUCCESS").exists():
            now = time.time()
            rows = pyarrow.dataset.dataset(folder, format="parquet").to_table(["file_name"])
            found |= dict.fromkeys(rows["file_name"].to_pylist(), now)
            known.add(folder.name)
    return found


def watched(options: argparse.Namespace, bundle: Path, sources: list[Path]) -> dict[str, Any]:
    """Seconds until the first file is there, and the latency of the others."""
    folder = bundle.parent
    inbox, table = folder / "inbox", folder / "table"
    inbox.mkdir()
    command = [str(HILUM), "watch", str(inbox), str(bundle), "--out", str(table)]
    command += ["--every", str(options.every), "--master", "local[2]"]
    arrived, seen, known = {}, {}, set[str]()
    started = time.time()
    with (folder / "said").open("w") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
    try:
        arrived["first.png"] = arrive(sources[0], inbox, "first.png")
        while len(seen) <= options.files:
            if process.poll() is not None or time.time() - started > LIMIT_S:
                raise RuntimeError((folder / "said").read_text())
            due = "first.png" in seen and len(arrived) <= options.files
            if due and time.time() >= seen["first.png"] + len(arrived) / options.per_second:
                name = f"{len(arrived):04d}.png"
                arrived[name] = arrive(sources[len(arrived) % len(sources)], inbox, name)
            seen |= readable(table, known)
            time.sleep(POLL_S)
    finally:
        process.terminate()
        process.wait(LIMIT_S)
    waits = np.array([seen[name] - arrived[name] for name in arrived if name != "first.png"])
    quantiles = {f"p{q}_s": round(float(np.percentile(waits, q)), 2) for q in (50, 95, 100)}
    return {"first_s": round(seen["first.png"] - started, 1), "batches": len(known)} | quantiles


def bare(bundle: ModelBundle, sources: list[Path], files: int) -> float:
    """Seconds per file: decode and predict, one at a time, no Spark."""
    torch.set_num_threads(1)
    predictor = Predictor.load(bundle)
    started = time.perf_counter()
    for number in range(files):
        pixels = decode(sources[number % len(sources)].read_bytes()).pixels
        list(predictor.predict([pixels]))
    return (time.perf_counter() - started) / files


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", type=int, default=60)
    parser.add_argument("--per-second", type=float, default=2.0)
    parser.add_argument("--every", type=float, default=0.5, help="seconds between looks")
    parser.add_argument("--model", default="efficientnet_lite0")
    parser.add_argument("--size", type=int, default=224, help="pixels of the network's input")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_dataset(folder / "data", 8, PhantomConfig(size_px=1024, seed=1))
        sources = sorted((folder / "data" / "images").iterdir())
        bundle = bundle_of(options.model, options.size)
        save_bundle(bundle, str(folder / "bundle"))
        found = watched(options, folder / "bundle", sources)
        print(json.dumps(found | {"bare_s": round(bare(bundle, sources, options.files), 3)}))


if __name__ == "__main__":
    main()
