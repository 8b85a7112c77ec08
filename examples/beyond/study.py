"""What the seven scripts share: options, a session, and where figures go."""

import argparse
import importlib.util
import json
from collections.abc import Callable, Sequence
from math import sqrt
from pathlib import Path
from typing import Any

import networks
from matplotlib.figure import Figure
from pyspark.sql import SparkSession

from hilum.errors import MissingDependencyError
from hilum.evaluation.figures import figure_to_png
from hilum.spark import local_session

__all__ = ["LEARNING", "Findings", "package_file", "run", "wilson_interval"]

Findings = dict[str, Any]
"""What a script found, by name; everything in it goes into JSON."""

LEARNING = {"precision": "float32", "showProgress": False, "seed": 1}
"""Settings of NNEstimator that all seven share; a few small steps need no bfloat16."""


def run(
    name: str,
    find: Callable[[SparkSession, Path | None], tuple[Findings, Any]],
    draw: Callable[[Findings, Any], Figure],
    arguments: Sequence[str] | None = None,
    *,
    data: str,
) -> Findings:
    """Read the options, find, write NAME.json and NAME.png, print the JSON.

    Args:
        name: of the two files.
        find: from a session and the option --data to what was found, and what only the picture
            needs.
        draw: from both to the picture.
        arguments: instead of those of the command line.
        data: what --data names, and what stands in for it.
    """
    parser = argparse.ArgumentParser(description=find.__doc__)
    parser.add_argument("--data", type=Path, help=data)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("beyond"),
        help="folder for the picture and JSON (default %(default)s)",
    )
    parser.add_argument("--master", default="local[*]", help="Spark master (default %(default)s)")
    options = parser.parse_args(arguments)
    spark = SparkSession.getActiveSession() or local_session(options.master)
    spark.addArtifacts(networks.__file__, pyfile=True)
    found, drawn = find(spark, options.data)
    options.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(found, indent=1, allow_nan=False)
    (options.out / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    (options.out / f"{name}.png").write_bytes(figure_to_png(draw(found, drawn), dpi=110))
    print(text)
    return found


def package_file(package: str, *parts: str, project: str) -> Path:
    """A file inside an installed package, which is found without being imported.

    Raises:
        MissingDependencyError: the package is not installed.
    """
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise MissingDependencyError(
            f"The data of this example is in the package {project}, which is not installed. "
            f"Hint: pip install {project}, or say with --data where the file is."
        )
    return Path(found.origin).parent.joinpath(*parts)


def wilson_interval(right: int, asked: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson, JASA 1927)."""
    z, share = 1.96, right / asked
    middle = (share + z**2 / (2 * asked)) / (1 + z**2 / asked)
    half = z / (1 + z**2 / asked) * sqrt(share * (1 - share) / asked + (z / (2 * asked)) ** 2)
    return middle - half, min(1.0, middle + half)
