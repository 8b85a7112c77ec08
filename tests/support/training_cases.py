"""A small pixel cache with learnable labels, and the settings of a tiny run."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hilum import storage
from hilum.models import build_classifier
from hilum.optim import LinearWarmup, OptimizerSpec
from hilum.preprocessing import (
    Chain,
    ChannelNormalize,
    GreyToRGB,
    RandomCrop,
    RandomHorizontalFlip,
    Resize,
)
from hilum.training import CacheManifest, TrainConfig, TrainJob, prepare_run
from hilum.training.shards import ShardFile, write_shard

OUTPUTS = ("bright", "left")
SIZE = 36


def write_cache(
    directory,
    num_images=23,
    splits=("train",) * 4 + ("valid",),
    shard_images=9,
    rows=None,
    weights=None,
):
    """Images whose brightness and bright half are their labels; one label is unknown.

    `rows` are those of the images to keep, in order, `weights` how much each counts.
    """
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, (num_images, 2)).astype(np.float32)
    images = generator.integers(0, 60, (num_images, 1, SIZE, SIZE)).astype(np.uint8)
    images += (labels[:, 0] * 90).astype(np.uint8)[:, None, None, None]
    images[..., : SIZE // 2] += (labels[:, 1] * 90).astype(np.uint8)[:, None, None, None]
    labels[3, 0] = np.nan
    splits = [splits[i % len(splits)] for i in range(num_images)]
    if rows is not None:
        images, labels, splits = images[rows], labels[rows], [splits[row] for row in rows]
        num_images = len(rows)
    write_records(directory, images, labels, splits, shard_images, weights)
    return images, labels


def write_records(directory, images, labels, splits, shard_images=9, weights=None):
    """Images (N, C, H, W) uint8, labels (N, outputs) and splits as a published cache."""
    num_images = len(images)
    shards = []
    for at in range(0, num_images, shard_images):
        part = images[at : at + shard_images]
        name = f"build/shard-{at:04d}.npy"
        digest = write_shard(storage.join(str(directory), name), part)
        shards.append(ShardFile(name=name, num_images=len(part), sha256=digest))
    index = pa.table(
        {
            "key": [f"image-{i:03d}" for i in range(num_images)],
            "split": splits,
            "labels": pa.array(labels.tolist(), type=pa.list_(pa.float32())),
            "shard": pa.array([i // shard_images for i in range(num_images)], pa.int32()),
            "row": pa.array([i % shard_images for i in range(num_images)], pa.int32()),
        }
    )
    if weights is not None:
        index = index.append_column("weight", pa.array(weights, type=pa.float32()))
    buffer = io.BytesIO()
    pq.write_table(index, buffer)
    storage.write_bytes(storage.join(str(directory), "build/index.parquet"), buffer.getvalue())
    manifest = CacheManifest(
        fingerprint="f",
        image_shape=images.shape[1:],
        num_images=num_images,
        preprocessing=chain().prefix.to_json(),
        shards=tuple(shards),
        index=ShardFile(
            name="build/index.parquet",
            num_images=num_images,
            sha256=storage.sha256_of(buffer.getvalue()),
        ),
        rejected={},
    )
    storage.write_json(storage.join(str(directory), "manifest.json"), manifest.to_json())


def chain():
    return Chain(
        (
            Resize(SIZE, SIZE),
            RandomCrop(32, 32),
            RandomHorizontalFlip(0.5),
            GreyToRGB(),
            ChannelNormalize((0.5,) * 3, (0.25,) * 3),
        )
    )


def config(**changes):
    settings = {
        "architecture": "timm:test_resnet",
        "outputs": OUTPUTS,
        "preprocessing": chain(),
        "schedule": LinearWarmup(start=0.0, peak=1e-3, steps=4),
        "optimizer": OptimizerSpec(name="adamw", weight_decay=0.01),
        "max_epochs": 2,
        "global_batch_size": 5,
        "precision": "float32",
        "batch_norm": "frozen",
        "dropout": 0.3,
    }
    return TrainConfig(**{**settings, **changes})


def start_run(directory, cache_directory, **changes):
    """A run directory with these configuration changes, ready to be trained; returns its path."""
    settings = config(**changes)
    model, _ = build_classifier(
        settings.blueprint, len(OUTPUTS), weights="random", dropout=0.3, seed=1
    )
    prepare_run(
        str(directory), TrainJob(config=settings, cache_directory=str(cache_directory)), model
    )
    return str(directory)
