"""Drawing a phantom data set on Spark: images/s, and that every file and label row is there.

.venv/bin/python benchmarks/draw_phantoms.py [--images 10000] [--size-px 256]
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

from hilum.phantom import PhantomConfig
from hilum.spark import local_session
from hilum.spark.phantoms import write_phantoms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--size-px", type=int, default=256)
    options = parser.parse_args()
    spark = local_session()
    with tempfile.TemporaryDirectory() as scratch:
        started = time.perf_counter()
        config = PhantomConfig(size_px=options.size_px, seed=1)
        data = write_phantoms(spark, scratch, options.images, config)
        seconds = time.perf_counter() - started
        files = sum(1 for _ in Path(data.images).iterdir())
        rows = len(Path(data.labels).read_text(encoding="utf-8").splitlines()) - 1
    spark.stop()
    print(
        json.dumps(
            {
                "images": options.images,
                "size_px": options.size_px,
                "files": files,
                "label_rows": rows,
                "seconds": round(seconds, 1),
                "images_per_s": round(options.images / seconds, 1),
            }
        )
    )


if __name__ == "__main__":
    main()
