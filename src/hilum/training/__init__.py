"""Training: pure of Spark. Cache reader, sampler, loop, checkpoints, launch."""

from hilum.training.checkpoint import Checkpoint, load_checkpoint
from hilum.training.config import (
    BatchNormMode,
    Compression,
    Placement,
    Precision,
    TrainConfig,
)
from hilum.training.history import (
    BestMetric,
    EpochRecord,
    History,
    WatchedMetric,
    load_history,
)
from hilum.training.launch import Launcher, LocalLauncher
from hilum.training.retrying import Attempt, RetryPolicy, launch_with_retries, read_attempts
from hilum.training.sampler import epoch_order, num_steps, rank_share, step_samples
from hilum.training.shards import CacheManifest, ImageCache, open_cache
from hilum.training.stopping import Stopping
from hilum.training.triggers import Every, Position
from hilum.training.worker import TrainJob, prepare_run, train_worker
from hilum.training.world import World

__all__ = [
    "Attempt",
    "BatchNormMode",
    "BestMetric",
    "CacheManifest",
    "Checkpoint",
    "Compression",
    "EpochRecord",
    "Every",
    "History",
    "ImageCache",
    "Launcher",
    "LocalLauncher",
    "Placement",
    "Position",
    "Precision",
    "RetryPolicy",
    "Stopping",
    "TrainConfig",
    "TrainJob",
    "WatchedMetric",
    "World",
    "epoch_order",
    "launch_with_retries",
    "load_checkpoint",
    "load_history",
    "num_steps",
    "open_cache",
    "prepare_run",
    "rank_share",
    "read_attempts",
    "step_samples",
    "train_worker",
]
