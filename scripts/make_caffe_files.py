"""Write weights for tests/models/data/small.prototxt, and what OpenCV makes of an image.

OpenCV's dnn module reads Caffe files with Caffe's own schema, so it is the other program here. It
is no dependency of Hilum: run this in an environment of its own, with opencv-python-headless below
5 (4.14 was used) and numpy, with tests/support on PYTHONPATH for the writer of protocol buffers.
"""

import argparse
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import wire_writer as wire

SHAPES: dict[str, tuple[tuple[int, ...], ...]] = {
    "conv1": ((8, 3, 3, 3),),
    "bn_conv1": ((8,), (8,), (1,)),
    "scale_conv1": ((8,), (8,)),
    "mix/1x1": ((6, 8, 1, 1), (6,)),
    "mix/3x3": ((6, 4, 3, 3), (6,)),
    "branch": ((20, 20, 3, 3), (20,)),
    "fc": ((7, 20), (7,)),
}
OUTPUTS = ("pool1", "pool1/norm1", "mix/output", "sum", "pool4", "pool5", "prob")


def caffemodel(random: np.random.Generator) -> bytes:
    """The weights, random; a batch norm's are multiplied by the factor beside them."""
    parts = [wire.block(1, "small")]
    for name, shapes in SHAPES.items():
        blobs = [(0.5 * random.standard_normal(shape)).astype(np.float32) for shape in shapes]
        if name == "bn_conv1":
            factor = np.float32(999.98)
            blobs = [blobs[0] * factor, (np.abs(blobs[1]) + 0.5) * factor, np.array([factor])]
        stored = b"".join(wire.block(7, blob(values)) for values in blobs)
        parts.append(wire.block(100, wire.block(1, name) + stored))
    return b"".join(parts)


def blob(values: Any) -> bytes:
    """A BlobProto."""
    shape = wire.block(7, wire.packed(1, values.shape))
    return shape + wire.floats(5, values.ravel())


def main() -> None:
    """Write the files and the reference values."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("tests/models/data"))
    folder = parser.parse_args().folder
    random = np.random.default_rng(2014)
    (folder / "small.caffemodel").write_bytes(caffemodel(random))
    image = random.standard_normal((2, 3, 18, 15)).astype(np.float32)
    net = cv2.dnn.readNetFromCaffe(str(folder / "small.prototxt"), str(folder / "small.caffemodel"))
    net.enableFusion(False)  # so that every blob can be asked for
    net.setInput(image)
    values = net.forward(list(OUTPUTS))
    np.savez_compressed(
        folder / "small_io.npz", image=image, **dict(zip(OUTPUTS, values, strict=True))
    )


if __name__ == "__main__":
    main()
