"""`hilum pack`."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["pack"]


def pack(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="env.tar.gz, or hilum.zip.")],
    also: Annotated[
        list[str] | None,
        typer.Option(
            "--also",
            help="A further installed package, with all that it requires, such as that of your own "
            "networks. May be given several times.",
        ),
    ] = None,
) -> None:
    """Pack this Python for the executors of a cluster that have none.

    A .tar.gz holds the interpreter, Hilum and the packages that it requires; a .zip holds Hilum
    alone, for executors that have PyTorch and the rest. Both go to `--environment` of the other
    commands. The executors' machines must have the same processor and system as this one.

    Examples:

        hilum pack env.tar.gz

        hilum run --master yarn --environment env.tar.gz --images hdfs:///cxr --labels
        hdfs:///labels.csv --out hdfs:///runs/first
    """
    from hilum.packing import pack as write

    packed = write(out, also or ())
    size = out.stat().st_size
    typer.echo(
        f"{out}: {len(packed.packages)} packages, {packed.num_files} files, "
        f"{packed.num_bytes / 1e6:.0f} MB, packed {size / 1e6:.0f} MB"
    )
