"""Epochs with a frozen backbone against full fine-tuning, through the engine itself.

    .venv/bin/python benchmarks/frozen_backbone.py [--model resnet50] [--images 256] [--quick]

The same network, images, batch size, augmentation and validation split, one rank with all cores.
The first epoch of a variant computes the features of the frozen part; later ones read them. Rates
are training images per second as the history records them, validation not counted, everything else
(gathering, dropout, gradient, optimizer) included. The first epoch of full fine-tuning is left out.
"""

import argparse
import io
import statistics
import tempfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hilum import storage
from hilum.findings import FINDINGS
from hilum.models import architecture, build_classifier
from hilum.optim import Constant, OptimizerSpec
from hilum.preprocessing import radiograph_chain
from hilum.training import (
    CacheManifest,
    LocalLauncher,
    TrainConfig,
    TrainJob,
    load_checkpoint,
    prepare_run,
    train_worker,
)
from hilum.training.shards import ShardFile, write_shard


def write_cache(directory: str, num_images: int, side: int) -> None:
    """Noise in place of radiographs, a fifth of them for validation."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (num_images, 1, side, side)).astype(np.uint8)
    digest = write_shard(storage.join(directory, "shard.npy"), pixels)
    labels = generator.integers(0, 2, (num_images, len(FINDINGS))).astype(np.float32)
    index = pa.table(
        {
            "key": [f"{i:06d}" for i in range(num_images)],
            "split": ["valid" if i % 5 == 4 else "train" for i in range(num_images)],
            "labels": pa.array(labels.tolist(), type=pa.list_(pa.float32())),
            "shard": pa.array([0] * num_images, pa.int32()),
            "row": pa.array(range(num_images), pa.int32()),
        }
    )
    buffer = io.BytesIO()
    pq.write_table(index, buffer)
    storage.write_bytes(storage.join(directory, "index.parquet"), buffer.getvalue())
    manifest = CacheManifest(
        fingerprint="noise",
        image_shape=(1, side, side),
        num_images=num_images,
        preprocessing={},
        shards=(ShardFile(name="shard.npy", num_images=num_images, sha256=digest),),
        index=ShardFile(
            name="index.parquet",
            num_images=num_images,
            sha256=storage.sha256_of(buffer.getvalue()),
        ),
        rejected={},
    )
    storage.write_json(storage.join(directory, "manifest.json"), manifest.to_json())


def epoch_rates(
    root: str, model: str, size: int, threads: int | None, **changes: object
) -> list[float]:
    """Images per second of each epoch of one run."""
    design = architecture(model)
    settings = {
        "architecture": model,
        "outputs": FINDINGS,
        "preprocessing": radiograph_chain(size, design.mean, design.std),
        "schedule": Constant(base=1e-4),
        "optimizer": OptimizerSpec(name="adamw", weight_decay=0.01),
        "batch_norm": "frozen",
        **changes,
    }
    config = TrainConfig(**settings)  # type: ignore[arg-type]
    run = f"{root}/run-{config.freeze or 'full'}"
    network, _ = build_classifier(model, len(FINDINGS), weights="random")
    prepare_run(run, TrainJob(config=config, cache_directory=f"{root}/cache"), network)
    LocalLauncher(num_threads=threads).launch(train_worker, run, 1)
    checkpoint = load_checkpoint(run)
    assert checkpoint is not None
    return [record.images_per_s for record in checkpoint.history]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--images", type=int, default=320)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--freeze", default="backbone")
    parser.add_argument("--epochs", type=int, default=10, help="of the frozen run")
    parser.add_argument("--variants", type=int, default=1)
    parser.add_argument("--threads", type=int, help="by default all cores")
    parser.add_argument("--quick", action="store_true", help="a small network on small images")
    options = parser.parse_args()
    if options.quick:
        options.model, options.images, options.size = "resnet18", 160, 64
    with tempfile.TemporaryDirectory() as root:
        side = round(1.07 * options.size / 8) * 8
        write_cache(f"{root}/cache", options.images, side)
        run = (root, options.model, options.size, options.threads)
        full = epoch_rates(*run, max_epochs=2)[-1]
        frozen = epoch_rates(
            *run,
            freeze=options.freeze,
            max_epochs=options.epochs,
            feature_variants=options.variants,
        )
    first, later = frozen[: options.variants], frozen[options.variants :]
    steady = statistics.median(later)
    print(f"full fine-tuning           {full:10.1f} img/s")
    print(f"frozen, first of a variant {statistics.median(first):10.1f} img/s")
    print(f"frozen, later              {steady:10.1f} img/s")
    print(
        f"record: {options.model} {options.size} px, frozen up to {options.freeze}: later epochs "
        f"{steady / full:.0f}x full fine-tuning, first {statistics.median(first) / full:.1f}x"
    )


if __name__ == "__main__":
    main()
