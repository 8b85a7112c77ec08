"""The part of the SavedModel road that TensorFlow runs, in a process of its own.

A program: `python savedmodel_freezing.py DIRECTORY SIGNATURE OUT`. It imports nothing of Hilum,
because the libraries that TensorFlow and PyTorch bring along (LLVM) do not always go together in
one process.
"""

import json
import sys
from pathlib import Path

__all__ = ["main"]

NOT_INSTALLED = 3


def main(directory: str, signature: str, out: str) -> int:
    """Write OUT/graph.pb, the frozen graph, and OUT/names.json; returns the exit code."""
    try:
        import tensorflow as tf
        from tensorflow.python.framework.convert_to_constants import (
            convert_variables_to_constants_v2,
        )
    except ImportError:
        return NOT_INSTALLED
    loaded = tf.saved_model.load(directory)
    frozen = convert_variables_to_constants_v2(loaded.signatures[signature])
    graph = frozen.graph.as_graph_def().SerializeToString()
    (Path(out) / "graph.pb").write_bytes(graph)
    names = {
        "inputs": [tensor.name for tensor in frozen.inputs],
        "outputs": [tensor.name for tensor in frozen.outputs],
    }
    (Path(out) / "names.json").write_text(json.dumps(names), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
