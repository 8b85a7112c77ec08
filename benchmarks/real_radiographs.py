"""Any-finding AUC on real radiographs: `hilum run` with its defaults, several seeds.

    HILUM_REAL_DATA=DIR .venv/bin/python benchmarks/real_radiographs.py [--seeds 3] [-- OPTIONS]

DIR/nih-pneumonia holds 680 NIH radiographs, split by patient into train, valid and test; the seed
changes the split, too. Options after `--` go to `hilum run`. Prints one JSON line per seed and the
mean; by-view figures matter, because positives and negatives differ in view.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folder", default="nih-pneumonia")
    parser.add_argument("--keep", type=Path, help="keep the runs here")
    parser.add_argument("options", nargs="*")
    given = parser.parse_args()
    data = Path(os.environ["HILUM_REAL_DATA"]) / given.folder
    scores = []
    with tempfile.TemporaryDirectory() as scratch:
        for seed in range(given.seeds):
            out = (given.keep or Path(scratch)) / f"seed-{seed}"
            command = [str(Path(sys.executable).with_name("hilum")), "run"]
            command += ["--images", str(data / "images"), "--out", str(out), "--seed", str(seed)]
            command += ["--labels", str(data / "Data_Entry_2017_v2020.csv"), *given.options]
            started = time.perf_counter()
            subprocess.run(command, check=True)
            metrics = json.loads((out / "report" / "metrics.json").read_text())
            by_view = {view: row["mean_auroc"] for view, row in metrics["by_view"].items()}
            record = {
                "seed": seed,
                "any_finding_auroc": metrics["any_finding"]["auroc"],
                "ci95": metrics["any_finding"]["auroc_ci95"],
                "mean_auroc": metrics["mean_auroc"],
                "mean_auroc_by_view": by_view,
                "test_images": metrics["num_images"],
                "seconds": round(time.perf_counter() - started),
            }
            scores.append(metrics["any_finding"]["auroc"])
            print(json.dumps(record), flush=True)
    print(json.dumps({"mean_any_finding_auroc": round(float(np.mean(scores)), 4)}))


if __name__ == "__main__":
    main()
