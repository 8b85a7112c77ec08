"""Cache building on Spark against the bare decoder on as many processes, in one run.

    .venv/bin/python benchmarks/cache_against_decoder.py [--files 400] [--folder DIR]

The bare side decodes and resizes the same files with the same functions in a process pool and
throws the pixels away. The Spark side lists, decodes, resizes, writes checksummed shards and an
index, in a session that is already warm. Without --folder, files are copies of phantoms
enlarged to 1024 px (about 400 kB each, as NIH publishes them).
"""

import argparse
import io
import json
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from pyspark.sql import functions as F

from hilum.decoding import decode
from hilum.phantom import PhantomConfig, image_specs, render
from hilum.preprocessing import Chain, Resize
from hilum.spark import CacheColumns, build_cache, local_session, read_radiographs

SIZE = 256


def decode_file(path: str) -> int:
    torch.set_num_threads(1)
    pixels = decode(Path(path).read_bytes()).pixels
    return int(Resize(SIZE, SIZE)(torch.from_numpy(pixels)[None, None]).shape[-1])


def write_files(folder: Path, count: int) -> None:
    config = PhantomConfig(size_px=256, seed=1)
    pictures = []
    noise = np.random.default_rng(0)
    for spec in image_specs(config, 8):
        large = np.asarray(Image.fromarray(render(config, spec)).resize((1024, 1024)), np.int16)
        noisy = np.clip(large + noise.normal(0, 1.5, large.shape), 0, 255).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(noisy).save(buffer, "PNG")
        pictures.append(buffer.getvalue())
    for position in range(count):
        (folder / f"{position:06d}.png").write_bytes(pictures[position % len(pictures)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=400)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch) / "images"
        if options.folder is None:
            folder.mkdir()
            write_files(folder, options.files)
        paths = sorted(str(path) for path in folder.iterdir())
        spark = local_session(f"local[{cores}]")

        def bare() -> float:
            with ProcessPoolExecutor(cores) as pool:
                list(pool.map(decode_file, paths[: 2 * cores]))  # warm: imports are not the decoder
                started = time.perf_counter()
                list(pool.map(decode_file, paths, chunksize=8))
                return len(paths) / (time.perf_counter() - started)

        def cache(run: int) -> float:
            data = read_radiographs(spark, str(folder), size=(SIZE, SIZE)).withColumn(
                "labels", F.array(F.lit(0.0))
            )
            columns = CacheColumns(image="image", labels="labels", split=None)
            started = time.perf_counter()
            build_cache(data, columns, Chain((Resize(SIZE, SIZE),)), f"{scratch}/cache-{run}")
            return len(paths) / (time.perf_counter() - started)

        cache(0)  # warm Python workers and JVM
        rows = []
        for run in (1, 2, 3):
            rows.append((bare(), cache(run)))
        spark.stop()
    ratios = sorted(built / decoded for decoded, built in rows)
    print(
        json.dumps(
            {
                "files": len(paths),
                "bare_images_per_s": [round(decoded, 1) for decoded, _ in rows],
                "cache_images_per_s": [round(built, 1) for _, built in rows],
                "ratio_median": round(ratios[1], 3),
            }
        )
    )


if __name__ == "__main__":
    main()
