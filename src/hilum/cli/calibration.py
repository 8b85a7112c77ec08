"""`hilum calibrate`."""

from typing import Annotated

import typer
from rich.console import Console

from hilum.cli.option_groups import with_options
from hilum.cli.options import Bundle, Glob, Images, Labels, Out
from hilum.cli.session_options import SessionOptions

__all__ = ["calibrate"]


@with_options(SessionOptions, "session")
def calibrate(
    bundle: Bundle,
    images: Images,
    labels: Labels,
    out: Out,
    split: Annotated[
        str | None,
        typer.Option("--split", help="Only this split by the bundle's own rule, such as valid."),
    ] = None,
    miss_cost: Annotated[
        float | None,
        typer.Option(
            "--miss-cost",
            help="Also choose the thresholds of lowest cost, a miss costing as much as so many "
            "false alarms, and make them the default.",
        ),
    ] = None,
    prevalence: Annotated[
        float | None,
        typer.Option("--prevalence", help="With --miss-cost: share of images with a finding."),
    ] = None,
    glob: Glob = None,
    *,
    session: SessionOptions,
) -> None:
    """Fit calibration and thresholds of a model anew, as on a hospital's own labelled radiographs.

    The images must be of patients who were not trained on, and are then no longer fit to test on.
    Writes the model with its new calibration and thresholds to OUT.

    Examples:

        hilum calibrate runs/first/bundle --images ours/ --labels ours.csv --out model

        hilum calibrate runs/first/bundle --images ours/ --labels ours.csv --out model --miss-cost 5
    """
    from hilum.evaluation.operating import DEFAULT_RULES, LowestCost
    from hilum.recipes.run import calibrate_bundle

    if prevalence is not None and miss_cost is None:
        raise typer.BadParameter("--prevalence goes with --miss-cost")
    cost = (
        () if miss_cost is None else (LowestCost(false_negative=miss_cost, prevalence=prevalence),)
    )
    console = Console(stderr=True)
    spark = session.start()
    try:
        calibrate_bundle(
            spark,
            bundle,
            images,
            labels,
            out,
            split=split,
            rules=(*cost, *DEFAULT_RULES),
            glob=glob,
            say=lambda line: console.print(line, highlight=False, markup=False),
        )
    finally:
        spark.stop()
    typer.echo(f"model: {out}")
