"""`hilum explain`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from hilum.cli.options import Bundle
from hilum.errors import require

if TYPE_CHECKING:
    from hilum.explain import Method

__all__ = ["explain"]

METHODS = ("grad-cam", "occlusion")


def explain(
    bundle: Bundle,
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="PNG, JPEG or DICOM file.")],
    finding: Annotated[
        list[str] | None,
        typer.Option("--finding", help="Explain this one; may be repeated. Default: the top ones."),
    ] = None,
    top: Annotated[
        int, typer.Option("--top", min=1, help="How many of the most probable findings.")
    ] = 3,
    method: Annotated[
        str, typer.Option("--method", help="grad-cam (fast) or occlusion (needs no gradients).")
    ] = "grad-cam",
    out: Annotated[
        Path | None, typer.Option("--out", help="PNG to write. Default: IMAGE-explained.png here.")
    ] = None,
) -> None:
    """Show where in a radiograph the model sees a finding: a PNG with overlays; no Spark, no Java.

    Examples:

        hilum explain runs/first/bundle patient.dcm

        hilum explain runs/first/bundle 00000061_012.png --finding Pneumonia --method occlusion
    """
    require(method in METHODS, "--method", f"one of {', '.join(METHODS)}", method)
    from hilum.recipes.explain import explain_file

    explained = explain_file(
        str(bundle),
        image,
        out or Path(f"{image.stem}-explained.png"),
        findings=finding or None,
        method=cast("Method", method),
        top=top,
    )
    for one in explained.heat_maps:
        at = one.peak_position
        where = "no evidence for it" if at is None else f"strongest at row {at[0]}, column {at[1]}"
        typer.echo(f"{one.finding}: {one.probability:.1%}, {where}")
    typer.echo(f"picture: {explained.picture}")
