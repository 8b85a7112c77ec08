"""Reading 2,000 files of which one in twenty is broken: what comes out, and how fast.

    .venv/bin/python benchmarks/ingest_broken_files.py [--files 2000]

The broken ones are the eleven kinds of tests/support/image_files.py. Every good file must come out
with its pixels and every broken one with its reason; anything else ends with an error.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from hilum.spark import local_session, read_radiographs
from hilum.spark.image_struct import grey_pixels

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from image_files import broken_files, dicom, picture, png, write_files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=2000)
    options = parser.parse_args()
    kinds = list(broken_files().items())
    contents: dict[str, bytes] = {}
    pixels: dict[str, np.ndarray] = {}
    reasons: dict[str, str] = {}
    for number in range(options.files):
        if number % 20 == 7:
            kind, (content, reason) = kinds[(number // 20) % len(kinds)]
            name = f"{number:05d}-{kind}"
            contents[name], reasons[name] = content, reason
        else:
            name = f"{number:05d}.dcm" if number % 10 == 3 else f"{number:05d}.png"
            pixels[name] = picture(number, 128, 128)
            encode = dicom if name.endswith(".dcm") else png
            contents[name] = encode(pixels[name])
    with tempfile.TemporaryDirectory() as scratch:
        folder = write_files(Path(scratch) / "files", contents)
        spark = local_session(f"local[{os.cpu_count()}]")
        started = time.perf_counter()
        rows = read_radiographs(spark, str(folder)).collect()
        seconds = time.perf_counter() - started
        spark.stop()
    assert len(rows) == options.files, "a file is missing"
    for row in rows:
        if row["file_name"] in reasons:
            assert (row["image"], row["reason"]) == (None, reasons[row["file_name"]]), row
        else:
            found = grey_pixels(row["image"].asDict())
            difference = np.abs(found.astype(int) - pixels[row["file_name"]])
            # DICOM files hold 12 bits and a window: rounding may move a pixel by one.
            assert difference.max() <= row["file_name"].endswith(".dcm"), row["file_name"]
    print(
        json.dumps(
            {
                "files": len(rows),
                "ok": len(pixels),
                "rejected": len(reasons),
                "reasons": dict(Counter(reasons.values())),
                "kinds": len(kinds),
                "seconds_with_cold_session": round(seconds, 1),
            }
        )
    )


if __name__ == "__main__":
    main()
