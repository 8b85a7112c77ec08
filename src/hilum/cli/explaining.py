"""`hilum explain`, `hilum localise` and `hilum robustness`."""

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, cast

import typer

from hilum.cli.option_groups import with_options
from hilum.cli.options import Bundle, Glob, Images, Labels, Out
from hilum.cli.session_options import SessionOptions
from hilum.errors import require

if TYPE_CHECKING:
    from hilum.explain import Method

__all__ = ["explain", "localise", "robustness"]

METHODS = ("grad-cam", "occlusion")


def explain(
    bundle: Bundle,
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="PNG, JPEG or DICOM file.")],
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
        str | None, typer.Option("--out", help="PNG to write. Default: IMAGE-explained.png here.")
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
        bundle,
        image,
        out or f"{PurePosixPath(image).stem}-explained.png",
        findings=finding or None,
        method=cast("Method", method),
        top=top,
    )
    for one in explained.heat_maps:
        at = one.peak_position
        where = "no evidence for it" if at is None else f"strongest at row {at[0]}, column {at[1]}"
        typer.echo(f"{one.finding}: {one.probability:.1%}, {where}")
    typer.echo(f"picture: {explained.picture}")


def localise(
    bundle: Bundle,
    images: Annotated[
        str, typer.Option("--images", help="Folder with images under NIH's file names.")
    ],
    boxes: Annotated[
        str, typer.Option("--boxes", help="NIH's BBox_List_2017.csv, plain or gzipped.")
    ],
    method: Annotated[str, typer.Option("--method", help="grad-cam or occlusion.")] = "grad-cam",
    frame_px: Annotated[
        int, typer.Option("--frame-px", min=1, help="Side of the images the boxes were drawn on.")
    ] = 1024,
    out: Annotated[str | None, typer.Option("--out", help="JSON file to write.")] = None,
) -> None:
    """Compare heat maps with the boxes readers drew: pointing game and overlap, beside chance.

    Examples:

        hilum localise runs/first/bundle --images xrays/ --boxes BBox_List_2017.csv
    """
    require(method in METHODS, "--method", f"one of {', '.join(METHODS)}", method)
    from hilum import storage
    from hilum.recipes.localise import localise_boxes

    report = localise_boxes(bundle, images, boxes, method=cast("Method", method), frame_px=frame_px)
    for name, one in {**report.findings, "all": report.overall}.items():
        low, high = one.hit_rate_ci95
        typer.echo(
            f"{name}: {one.maps} maps, hit {one.hit_rate:.2f} ({low:.2f} to {high:.2f}), "
            f"chance {one.chance:.2f}, IoU {one.iou:.2f}, IoBB {one.iobb:.2f}"
        )
    if out is not None:
        storage.write_json(out, report.to_json())
        typer.echo(f"report: {out}")


@with_options(SessionOptions, "session")
def robustness(
    bundle: Bundle,
    images: Images,
    labels: Labels,
    out: Out,
    split: Annotated[
        str | None,
        typer.Option("--split", help="Only this split by the bundle's own rule, such as test."),
    ] = None,
    max_images: Annotated[
        int, typer.Option("--max-images", min=1, help="Draw at most so many; all are in memory.")
    ] = 500,
    glob: Glob = None,
    *,
    session: SessionOptions,
) -> None:
    """Measure how AUC falls under noise, blur, contrast, rotation, crop, JPEG, and less resolution.

    Writes OUT/robustness.json and OUT/robustness.png.

    Examples:

        hilum robustness runs/first/bundle --images xrays/ --labels labels.csv --out robust
    """
    from hilum.recipes.robustness import robustness_of_bundle

    spark = session.start()
    try:
        measured = robustness_of_bundle(
            spark,
            bundle,
            images,
            labels,
            out,
            split=split,
            glob=glob,
            max_images=max_images,
        )
    finally:
        spark.stop()
    typer.echo(f"{measured.num_images} images, mean AUC {_auc(measured.unchanged.mean_auroc)}")
    for curve in measured.curves:
        levels = ", ".join(f"{p.level:g}: {_auc(p.mean_auroc)}" for p in curve.points)
        typer.echo(f"{curve.perturbation} ({curve.unit}): {levels}")
    typer.echo(f"picture: {out}/robustness.png")


def _auc(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"
