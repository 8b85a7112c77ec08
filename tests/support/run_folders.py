"""Run folders as training leaves them, without training."""

import json
import os
import time
from pathlib import Path

from hilum.training import EpochRecord, History, TrainJob
from training_cases import config


def write_run(folder, *, losses=(0.7, 0.6), phase="done", attempts=(), age_s=0.0, **changes):
    """A run of one validation per loss; `attempts` are outcomes of launches, oldest first."""
    folder = Path(folder)
    folder.mkdir(parents=True)
    job = TrainJob(config=config(**changes), cache_directory="cache")
    records = tuple(
        EpochRecord(
            epoch=at,
            step=4 * (at + 1),
            train_loss=1.1 * loss,
            valid_loss=loss,
            valid_mean_auroc=1.2 - loss,
            valid_auroc=(1.2 - loss, None),
            lr=1e-3 / (at + 1),
            images_per_s=20.0 + at,
            seconds=30.0,
        )
        for at, loss in enumerate(losses)
    )
    documents = {
        "job.json": job.to_json(),
        "history.json": History(records).to_json(),
        "progress.json": {"phase": phase, "num_steps": 4},
        "environment.json": {
            "versions": {"torch": "2.9.0"},
            "driver": {"cores": 2},
            "created": folder.name,
        },
    }
    if attempts:
        documents["attempts.json"] = {
            "attempts": [
                {"outcome": outcome, "reason": "why" if outcome in ("lost", "failed") else ""}
                for outcome in attempts
            ]
        }
    for name, document in documents.items():
        (folder / name).write_text(json.dumps(document))
        then = time.time() - age_s
        os.utime(folder / name, (then, then))
    return str(folder)
