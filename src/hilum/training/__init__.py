"""Training: pure of Spark. Cache reader, sampler, loop, checkpoints, launch."""

from hilum.training.checkpoint import Checkpoint, load_checkpoint
from hilum.training.config import (
    BatchNormMode,
    Compression,
    Placement,
    Precision,
    TrainConfig,
)
from hilum.training.history import BestMetric, EpochRecord, History, WatchedMetric
from hilum.training.launch import Launcher, LocalLauncher
from hilum.training.sampler import epoch_order, num_steps, rank_share, step_samples
from hilum.training.shards import CacheManifest, ImageCache, open_cache
from hilum.training.stopping import Stopping
from hilum.training.triggers import Every, Position
from hilum.training.worker import TrainJob, prepare_run, train_worker
from hilum.training.world import World

__all__ = [
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
    "Stopping",
    "TrainConfig",
    "TrainJob",
    "WatchedMetric",
    "World",
    "epoch_order",
    "load_checkpoint",
    "num_steps",
    "open_cache",
    "prepare_run",
    "rank_share",
    "step_samples",
    "train_worker",
]
