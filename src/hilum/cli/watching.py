"""`hilum watch`."""

from typing import Annotated

import typer
from rich.console import Console

from hilum.cli.option_groups import with_options
from hilum.cli.options import Bundle, Glob
from hilum.cli.session_options import SessionOptions

__all__ = ["watch"]


@with_options(SessionOptions, "session")
def watch(
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="Where radiographs arrive.")],
    bundle: Bundle,
    out: Annotated[str, typer.Option("--out", help="Parquet table; made, or continued.")],
    once: Annotated[
        bool, typer.Option("--once", help="End when all files that are there now are done.")
    ] = False,
    every: Annotated[
        float, typer.Option("--every", min=0.1, help="Seconds between looks into the folder.")
    ] = 5.0,
    files_per_batch: Annotated[
        int, typer.Option("--files-per-batch", min=1, help="Files predicted together, at most.")
    ] = 256,
    glob: Glob = None,
    *,
    session: SessionOptions,
) -> None:
    """Predict every radiograph that comes into a folder, exactly once.

    Ctrl-C, a crash or a power cut may end it: started again with the same --out it goes on where it
    was. Files must appear whole: write them under a name that begins with a dot, then rename them.

    Examples:

        hilum watch inbox/ runs/first/bundle --out predictions

        hilum watch inbox/ runs/first/bundle --out predictions --once
    """
    from hilum.recipes.watch_folder import watch_folder
    from hilum.spark import NNModel

    console = Console(stderr=True)
    spark = session.start()
    try:
        rows = watch_folder(
            spark,
            folder,
            NNModel.from_bundle(bundle),
            out,
            glob=glob,
            files_per_batch=files_per_batch,
            every_s=every,
            once=once,
            say=lambda line: console.print(line, highlight=False, markup=False),
        )
    finally:
        spark.stop()
    typer.echo(f"files: {rows}")
