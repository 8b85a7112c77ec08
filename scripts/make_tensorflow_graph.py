"""Write tests/models/data/nhwc.pb: a frozen graph and what TensorFlow itself makes of an image.

TensorFlow is no dependency of Hilum: run this in an environment of its own with tensorflow-cpu
(2.21 was used). Every kind of node that meets layouts or borders is in it: SAME on odd sizes with
steps, dilation, groups and depthwise kernels, pools with a border, batch norm fused and taken
apart, a gate, a reshape that flattens (H, W, C), transposes.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

OUTPUTS = ("stem/relu6", "mixed", "features", "prob")


def build(random: np.random.Generator) -> Any:
    """Build the graph; weights are constants, so it is frozen."""
    v1 = tf.compat.v1

    def weights(*shape: int, scale: float = 0.5) -> Any:
        return tf.constant((scale * random.standard_normal(shape)).astype(np.float32))

    image = v1.placeholder(tf.float32, [None, 17, 14, 3], name="image")
    value = tf.nn.conv2d(image, weights(3, 3, 3, 8), [1, 2, 2, 1], "SAME", name="stem/conv")
    value = tf.nn.bias_add(value, weights(8), name="stem/bias")
    value, _, _ = v1.nn.fused_batch_norm(
        value,
        weights(8) + 1.0,
        weights(8),
        mean=weights(8),
        variance=tf.constant(random.uniform(0.5, 2, 8).astype(np.float32)),
        epsilon=1e-3,
        is_training=False,
        name="stem/norm",
    )
    stem = tf.nn.relu6(value, name="stem/relu6")
    deep = tf.nn.depthwise_conv2d(stem, weights(3, 3, 8, 2), [1, 2, 2, 1], "SAME", name="depthwise")
    largest = tf.nn.max_pool2d(stem, 3, 2, "SAME", name="largest")
    mean = tf.nn.avg_pool2d(stem, 3, 2, "SAME", name="mean")
    wide = tf.nn.conv2d(stem, weights(3, 3, 8, 8), 1, "SAME", dilations=2, name="dilated")
    wide = tf.nn.max_pool2d(wide, 2, 2, "SAME", name="dilated/pool")
    mixed = tf.concat([deep, largest, mean, wide], 3, name="mixed")
    grouped = tf.nn.conv2d(mixed, weights(2, 2, 20, 20), 1, "SAME", name="grouped")
    # A batch norm as TensorFlow 1 wrote it, and a gate as MobileNet v3 has it.
    factor = weights(20) * tf.math.rsqrt(tf.constant(random.uniform(0.5, 2, 20), tf.float32) + 1e-3)
    value = tf.add(grouped * factor, weights(20) - weights(20) * factor, name="unfused")
    gate = tf.reduce_mean(value, [1, 2], keepdims=True, name="gate/mean")
    gate = tf.nn.conv2d(gate, weights(1, 1, 20, 20), 1, "VALID", name="gate/conv")
    gate = tf.multiply(tf.nn.relu6(gate + 3.0), 1 / 6, name="gate/hard_sigmoid")
    value = tf.multiply(value, gate, name="gated")
    value = tf.nn.lrn(value, depth_radius=2, bias=1.5, alpha=0.1, beta=0.75, name="lrn")
    value = tf.transpose(tf.transpose(value, [0, 3, 1, 2]) - 0.25, [0, 2, 3, 1], name="turned")
    value = tf.pad(value, [[0, 0], [1, 0], [0, 2], [0, 0]], name="padded")
    value = tf.nn.conv2d(value, weights(3, 3, 20, 6), 1, "VALID", name="features")
    value = tf.reshape(value, [-1, 4 * 4 * 6], name="flat")
    value = tf.linalg.matmul(value, weights(4 * 4 * 6, 5, scale=0.1), name="logits")
    tf.nn.softmax(value + weights(5), name="prob")


def main() -> None:
    """Write the graph and the reference values."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("tests/models/data"))
    folder = parser.parse_args().folder
    random = np.random.default_rng(2019)
    graph = tf.Graph()
    with graph.as_default():
        build(random)
    image = random.standard_normal((2, 17, 14, 3)).astype(np.float32)
    with tf.compat.v1.Session(graph=graph) as session:
        values = session.run([f"{name}:0" for name in OUTPUTS], {"image:0": image})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "nhwc.pb").write_bytes(graph.as_graph_def().SerializeToString(deterministic=True))
    np.savez_compressed(
        folder / "nhwc_io.npz", image=image, **dict(zip(OUTPUTS, values, strict=True))
    )


if __name__ == "__main__":
    main()
