"""TensorFlow SavedModel: by way of TensorFlow itself, which freezes it; only with trust.

A SavedModel is a program: TensorFlow runs part of it to restore the variables, and its operators
can read and write files. TensorFlow makes a frozen graph of it, which goes the frozen graph's road;
so TensorFlow is needed on the machine that reads the file, and nowhere else.
"""

import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from hilum.errors import InvalidValueError, MissingDependencyError, require
from hilum.models.recipes import LoadedModel
from hilum.models.roads import savedmodel_freezing

__all__ = ["load_savedmodel"]

_SIGNATURE = "serving_default"


def load_savedmodel(path: str | Path, *, trust: bool) -> LoadedModel:
    """Read the serving signature of a SavedModel of TensorFlow 2.

    Args:
        path: of the directory.
        trust: let TensorFlow run it.

    Raises:
        InvalidValueError: without trust; no such signature; an operator that is not known here.
        MissingDependencyError: TensorFlow is not installed.
    """
    path = Path(path)
    require(
        trust,
        "trust",
        "True for a SavedModel, which TensorFlow runs to read it",
        trust,
        hint="save the model as .keras or .h5, which are read without running anything, or say "
        "trust=True if you would also run a program of whoever made this one",
    )
    from hilum.models.roads.tensorflow import load_frozen_graph

    with tempfile.TemporaryDirectory(prefix="hilum-model-") as folder:
        # -P: beside the program lies a tensorflow.py, which is not TensorFlow.
        program = [sys.executable, "-P", savedmodel_freezing.__file__]
        arguments = [*program, str(path), _SIGNATURE, folder]
        done = subprocess.run(arguments, capture_output=True, text=True)
        if done.returncode == savedmodel_freezing.NOT_INSTALLED:
            raise MissingDependencyError(
                "A SavedModel is read with TensorFlow, which is not installed. Hint: pip install "
                "tensorflow, or save the model as .keras or .h5 where it is."
            )
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise InvalidValueError(
                f"a SavedModel must have the signature {_SIGNATURE!r}. Got {str(path)!r}: {last}"
            )
        names = json.loads((Path(folder) / "names.json").read_text(encoding="utf-8"))
        graph = Path(folder) / "graph.pb"
        model = load_frozen_graph(graph, names["inputs"], names["outputs"])
    return replace(model, report=replace(model.report, source=str(path)))
