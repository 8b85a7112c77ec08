"""`hilum demo`."""

import shutil
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from hilum.cli.options import Master, Seed
from hilum.errors import require

__all__ = ["demo"]


def demo(
    out: Annotated[Path, typer.Option("--out", help="Directory for data and results.")] = Path(
        "demo"
    ),
    images: Annotated[int, typer.Option("--images", min=100, help="Phantoms to draw.")] = 720,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Training epochs.")] = 8,
    seed: Seed = 1,
    master: Master = "local-cluster[2,1,1024]",
) -> None:
    """The main job from nothing: draws phantom radiographs, trains, evaluates, predicts.

    A directory that an earlier demo made is replaced; any other one that exists is refused.

    Examples:

        hilum demo

        hilum demo --out /data/demo --images 2000 --master "local[8]"
    """
    started = time.monotonic()
    console = Console(stderr=True)
    marker = out / ".hilum-demo"
    require(
        not out.exists() or marker.exists(),
        "--out",
        "a new directory, or one of an earlier demo",
        str(out),
    )
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    marker.touch()
    from hilum.cli.scoring import print_predictions
    from hilum.recipes.demo import DemoSettings, run_demo
    from hilum.spark import local_session

    console.print(f"starting Spark ({master})", highlight=False, markup=False)
    # The JVM's second compiler costs more than it gains in a session of minutes.
    quick_start = {"spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1"}
    spark = local_session(master, config=quick_start)
    try:
        finished = run_demo(
            spark,
            str(out),
            DemoSettings(num_images=images, epochs=epochs, seed=seed),
            lambda line: console.print(line, highlight=False, markup=False),
        )
    finally:
        spark.stop()
    bundle = finished.result.bundle_directory
    print_predictions(bundle, [str(finished.example)], "table")
    mean = finished.result.evaluation.mean_auroc
    seconds = time.monotonic() - started
    typer.echo(
        f"""
mean AUC on test patients: {"undefined" if mean is None else f"{mean:.3f}"}   ({seconds:.0f} s)
report:      {finished.result.report_directory}/report.html
model:       {bundle}
predict:     .venv/bin/hilum predict {bundle} {finished.data.images}
your data:   .venv/bin/hilum run --images DIR --labels CSV --out RUN"""
    )
