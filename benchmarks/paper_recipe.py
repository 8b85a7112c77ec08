"""The paper's recipe on real radiographs, once per topology: cut, dropout 0.2, a head of 14.

    HILUM_REAL_DATA=DIR .venv/bin/python benchmarks/paper_recipe.py [--topologies resnet50 ...]
        [--weights auto] [--size 224] [--epochs 15] [--seed 0]

DIR/nih-pneumonia holds 680 NIH radiographs, split here by patient. Adam, the paper's schedule (1e-7
to 1e-4 over five epochs, then plateau), L2 on the head, each network with its own normalisation.
Weights are the published ones where they can be had; the line says what a network started from.
AUCs are of the test patients: Pneumonia, and the mean over the findings that have one.
"""

import argparse
import json
import math
import os
import time
from pathlib import Path

from hilum.findings import FINDINGS
from hilum.models import TOPOLOGIES, architecture, load
from hilum.models.surgery import transfer
from hilum.spark import (
    NNEstimator,
    RocAucEvaluator,
    finding_counts,
    join_labels,
    local_session,
    read_labels,
    read_radiographs,
    split_by_patient,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--topologies", nargs="+", default=[*TOPOLOGIES, "efficientnet_lite0"])
    parser.add_argument("--weights", default="auto")
    parser.add_argument("--size", type=int, default=0, help="0: each network's own")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    folder = Path(os.environ["HILUM_REAL_DATA"]) / "nih-pneumonia"
    spark = local_session()
    images = read_radiographs(spark, str(folder / "images"))
    labels = read_labels(spark, str(folder / "Data_Entry_2017_v2020.csv"))
    shares = {"train": 0.7, "valid": 0.1, "test": 0.2}
    data = split_by_patient(join_labels(images, labels), shares, seed=given.seed)
    test = data.filter("split = 'test'")
    counted = finding_counts(test)
    print(counted)
    for name in given.topologies:
        start = transfer(load(name, weights=given.weights), len(FINDINGS), dropout=0.2, l2=0.1)
        estimator = NNEstimator(
            model=start,
            splitCol="split",
            imageSize=given.size or architecture(name).image_size_px,
            maxEpochs=given.epochs,
            batchSize=given.batch,
            optimizer="adam",
            schedule="paper",
            weightDecay=0.0,
            seed=given.seed,
            showProgress=False,
        )
        started = time.perf_counter()
        model = estimator.fit(data)
        seconds = time.perf_counter() - started
        found = RocAucEvaluator().evaluatePerFinding(model.transform(test))
        defined = [value for value in found.values() if not math.isnan(value)]
        record = {
            "topology": name,
            "start": start.report.kind,
            "size_px": given.size or architecture(name).image_size_px,
            "epochs": len(model.history),
            "pneumonia_auroc": round(found["Pneumonia"], 3),
            "mean_auroc": round(sum(defined) / len(defined), 3),
            "findings_defined": len(defined),
            "images_per_s": round(model.history.epochs[-1].images_per_s, 1),
            "fit_s": round(seconds),
        }
        print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
