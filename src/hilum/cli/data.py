"""`hilum ingest`."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from hilum.cli.option_groups import with_options
from hilum.cli.options import Glob
from hilum.cli.session_options import SessionOptions

__all__ = ["ingest"]


@with_options(SessionOptions, "session")
def ingest(
    path: Annotated[str, typer.Argument(metavar="DIR", help="File, directory or glob.")],
    out: Annotated[str, typer.Option("--out", help="Parquet table to write; must not exist.")],
    mode: Annotated[
        str, typer.Option("--mode", help="permissive, dropmalformed or failfast.")
    ] = "permissive",
    size: Annotated[
        int, typer.Option("--size", min=0, help="Resize to SIZE x SIZE; 0 keeps each image's size.")
    ] = 0,
    glob: Glob = None,
    *,
    session: SessionOptions,
) -> None:
    """Decode radiographs once into a Parquet table; every refused file has its reason.

    Prints JSON: files, ok, rejected, reasons.

    Examples:

        hilum ingest xrays/ --out table

        hilum ingest "hdfs:///cxr/2019-*" --out hdfs:///tables/cxr --mode dropmalformed
    """
    from hilum.recipes.ingest import ingest as run_ingest

    spark = session.start()
    try:
        report = run_ingest(
            spark,
            path,
            out,
            mode=mode,  # type: ignore[arg-type]  # checked by read_radiographs
            size=(size, size) if size else None,
            glob=glob,
        )
    finally:
        spark.stop()
    typer.echo(json.dumps(asdict(report)))
