"""`hilum run` and `hilum train`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from hilum.cli.option_groups import with_options
from hilum.cli.options import (
    CloserLook,
    Glob,
    Images,
    Labels,
    Out,
    Split,
    SplitBy,
    SplitList,
)
from hilum.cli.session_options import SessionOptions
from hilum.cli.training_options import TrainingOptions
from hilum.errors import InvalidValueError, require

if TYPE_CHECKING:
    from hilum.recipes.data import SplitRule
    from hilum.spark import NNEstimator

__all__ = ["run", "train"]


@with_options(TrainingOptions, "training")
@with_options(SessionOptions, "session")
def run(
    *,
    session: SessionOptions,
    images: Images,
    labels: Labels,
    out: Out,
    split: Split = "0.7,0.1,0.2",
    split_by: SplitBy = "patient",
    split_list: SplitList = None,
    closer_look: CloserLook = 100,
    glob: Glob = None,
    training: TrainingOptions,
) -> None:
    """The whole chain: read, split by patient, cache, train, calibrate, evaluate, report.

    Calibration and thresholds are fitted on the validation patients and kept in the model. Writes
    OUT/bundle (the model), OUT/history.json and OUT/report/ (report.html and its files).

    Examples:

        hilum run --images xrays/ --labels Data_Entry_2017.csv --out runs/first

        hilum run --images hdfs:///cxr --labels hdfs:///labels.csv --out hdfs:///run --master yarn
    """
    from hilum.recipes import run as recipe

    console = Console(stderr=True)
    rule = _rule(split, split_by, split_list, training.seed)
    estimator = _estimator(training)
    spark = session.start()
    try:
        result = recipe.run(
            spark,
            images,
            labels,
            out,
            estimator,
            rule,
            say=_say(console),
            glob=glob,
            closer_look=closer_look,
        )
    finally:
        spark.stop()
    mean = result.evaluation.mean_auroc
    typer.echo(f"mean AUC on the test split: {'undefined' if mean is None else f'{mean:.3f}'}")
    typer.echo(f"model:  {result.bundle_directory}")
    typer.echo(f"report: {result.report_directory}/report.html")


@with_options(TrainingOptions, "training")
@with_options(SessionOptions, "session")
def train(
    *,
    session: SessionOptions,
    data: Annotated[
        str | None, typer.Option("--data", help="Table that `hilum ingest` wrote.")
    ] = None,
    labels: Annotated[str | None, typer.Option("--labels", help="Label table.")] = None,
    out: Annotated[str | None, typer.Option("--out", help="Directory for the run.")] = None,
    resume: Annotated[
        str | None, typer.Option("--resume", help="Continue this run from its last checkpoint.")
    ] = None,
    split: Split = "0.7,0.1,0.2",
    split_by: SplitBy = "patient",
    split_list: SplitList = None,
    training: TrainingOptions,
) -> None:
    """Train on an ingested table; writes OUT/bundle, OUT/history.json and checkpoints.

    Calibration and thresholds are fitted on the validation patients and kept in the model.

    Examples:

        hilum train --data table --labels Data_Entry_2017.csv --out runs/second --model resnet50

        hilum train --resume runs/second
    """
    given = {"--data": data, "--labels": labels, "--out": out}
    if resume is None and None in given.values():
        missing = ", ".join(name for name, value in given.items() if value is None)
        raise typer.BadParameter(f"{missing} missing (or give --resume RUN)")
    fixed = [name for name, value in given.items() if value] + training.settled()
    require(
        resume is None or not fixed,
        "--resume",
        "given alone, or with --ranks and what to do when a rank is lost",
        fixed,
        hint="data and settings are in the run directory",
    )
    from hilum.recipes import run as recipe
    from hilum.recipes.data import label_and_split, read_ingested

    console = Console(stderr=True)
    rule = _rule(split, split_by, split_list, training.seed)
    estimator = _estimator(training)
    spark = session.start()
    try:
        if resume is not None:
            out = resume
            recipe.continue_training(
                spark,
                resume,
                num_ranks=training.ranks,
                policy=training.retry_policy(),
                say=_say(console),
            )
        else:
            assert data is not None
            assert labels is not None
            assert out is not None
            table = label_and_split(spark, read_ingested(spark, data), labels, rule)
            _say(console)(str(table.join))
            source = {"data": data, "labels": labels}
            recipe.train(spark, table, out, estimator, rule, source=source, say=_say(console))
    finally:
        spark.stop()
    typer.echo(f"model: {out}/bundle")


def _rule(split: str, split_by: str, split_list: str | None, seed: int) -> "SplitRule":
    from hilum.recipes.data import SplitRule, parse_fractions

    if split_by not in ("patient", "image"):
        raise InvalidValueError(f"--split-by must be patient or image. Got {split_by!r}.")
    return SplitRule(
        fractions=parse_fractions(split),
        seed=seed,
        by="image" if split_by == "image" else "patient",
        listed_in=split_list,
    )


def _estimator(training: TrainingOptions) -> "NNEstimator":
    from hilum.spark import NNEstimator

    estimator = NNEstimator(splitCol="split", **training.params())
    estimator.settings()  # a mistake is said before Spark starts
    return estimator


def _say(console: Console) -> Any:
    return lambda line: console.print(line, highlight=False, markup=False)
