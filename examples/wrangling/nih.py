"""What the five scripts share: options, a session, NIH's table, and where figures go."""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from pyspark.sql import DataFrame, SparkSession

from hilum.errors import require
from hilum.evaluation.figures import figure_to_png
from hilum.spark import local_session, read_labels

__all__ = ["Findings", "google_table", "labels_table", "radiographs", "run"]

Findings = dict[str, Any]
"""What a script found, by name; everything in it goes into JSON."""

_LABELS = ("Data_Entry_2017_v2020.csv.gz", "Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
_GOOGLE = ("google2019_nih-chest-xray-labels.csv.gz", "google2019_nih-chest-xray-labels.csv")


def run(
    name: str,
    find: Callable[[SparkSession, Path], Findings],
    draw: Callable[[Findings], Figure],
    arguments: Sequence[str] | None = None,
) -> Findings:
    """Read the options, look at the table, write NAME.json and NAME.png, print the JSON.

    Args:
        name: of the two files.
        find: from a session and the folder of tables to what was found.
        draw: from what was found to its picture.
        arguments: instead of those of the command line.
    """
    parser = argparse.ArgumentParser(description=find.__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with NIH's tables")
    parser.add_argument("--out", type=Path, required=True, help="folder for the picture and JSON")
    parser.add_argument("--master", default="local[*]", help="Spark master (default %(default)s)")
    options = parser.parse_args(arguments)
    spark = SparkSession.getActiveSession() or local_session(options.master)
    found = find(spark, options.data)
    options.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(found, indent=1, allow_nan=False)
    (options.out / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    (options.out / f"{name}.png").write_bytes(figure_to_png(draw(found), dpi=110))
    print(text)
    return found


def radiographs(spark: SparkSession, data: Path) -> DataFrame:
    """NIH's table as Hilum reads it: file_name, patient_id, labels, age_years, sex, view, ..."""
    return read_labels(spark, labels_table(data))


def labels_table(data: Path) -> Path:
    """Where NIH's own table is."""
    return _first(data, _LABELS)


def google_table(data: Path) -> Path:
    """Where Google's adjudicated labels are."""
    return _first(data, _GOOGLE)


def _first(folder: Path, names: Sequence[str]) -> Path:
    files = [folder / name for name in names if (folder / name).is_file()]
    require(bool(files), "--data", f"a folder with {' or '.join(names)}", str(folder))
    return files[0]
