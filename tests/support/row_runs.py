"""Runs on rows of any columns: 25 of them, every fifth for validation."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from hilum.inputs import RowSpec
from hilum.optim import Constant, OptimizerSpec, TorchLoss
from hilum.preprocessing import Chain
from hilum.training import (
    Checkpoint,
    LocalLauncher,
    TrainConfig,
    TrainJob,
    load_checkpoint,
    prepare_run,
    train_worker,
)
from hilum.training.trial import try_network
from training_cases import write_records

MSE = TorchLoss(name="MSELoss")
SPLITS = (["train"] * 4 + ["valid"]) * 5


def start_on_rows(
    folder: Path,
    model: nn.Module,
    spec: RowSpec,
    records: Any,
    known: Any,
    *,
    weights: Any = None,
    **settings: Any,
) -> tuple[str, TrainConfig]:
    """A run ready to be trained; `settings` are those of TrainConfig, its architecture at least."""
    write_records(folder / "cache", records[:, None, None], known, SPLITS, weights=weights)
    first = torch.from_numpy(records[:1]), torch.from_numpy(known[:1])
    config = TrainConfig(
        **{
            "outputs": tuple(target.column for target in spec.targets),
            "preprocessing": Chain(()),
            "rows": try_network(model, spec, settings.get("loss", MSE), *first),
            "schedule": Constant(base=0.05),
            "optimizer": OptimizerSpec(name="sgd"),
            "loss": MSE,
            "max_epochs": 2,
            "global_batch_size": 8,
            "precision": "float32",
            **settings,
        }
    )
    job = TrainJob(config=config, cache_directory=str(folder / "cache"))
    prepare_run(str(folder / "run"), job, model)
    return str(folder / "run"), config


def train(run: str, num_ranks: int = 1) -> Checkpoint | None:
    """Train it to its end; what the last checkpoint holds."""
    digests = LocalLauncher(num_threads=1).launch(train_worker, run, num_ranks)
    assert len(set(digests)) == 1, "all ranks end with the same weights"
    return load_checkpoint(run)


def losses(checkpoint: Checkpoint) -> list[float | None]:
    """Training and validation losses, epoch by epoch."""
    return [value for r in checkpoint.history for value in (r.train_loss, r.valid_loss)]
