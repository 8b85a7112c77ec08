"""The demo: phantoms are drawn, and the main job runs on them as it would on anybody's data."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pyspark.sql import SparkSession

from hilum import storage
from hilum.phantom import PhantomConfig
from hilum.recipes.data import SplitRule
from hilum.recipes.run import RunResult, run
from hilum.spark import NNEstimator
from hilum.spark.phantoms import PhantomSet, write_phantoms

__all__ = ["DemoResult", "DemoSettings", "run_demo"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoSettings:
    """Sizes that two cores finish in a few minutes.

    Attributes:
        prevalence_scale: NIH's prevalences times this, so that a few hundred images hold enough
            positives of each finding to learn and to test.
    """

    num_images: int = 720
    image_size_px: int = 112
    epochs: int = 8
    seed: int = 1
    prevalence_scale: float = 1.5
    prevalence_floor: float = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoResult:
    """What the demo leaves: its data, its results and one image to predict."""

    data: PhantomSet
    result: RunResult
    example: Path


def run_demo(
    spark: SparkSession, out: str, settings: DemoSettings, say: Callable[[str], None]
) -> DemoResult:
    """Draw phantoms into OUT/data and run the main job into OUT/run."""
    say(f"drawing {settings.num_images} phantom radiographs")
    config = PhantomConfig(
        size_px=2 * settings.image_size_px,
        seed=settings.seed,
        prevalence_scale=settings.prevalence_scale,
        prevalence_floor=settings.prevalence_floor,
    )
    data = write_phantoms(spark, storage.join(out, "data"), settings.num_images, config)
    estimator = NNEstimator(
        model="efficientnet_lite0",
        splitCol="split",
        imageSize=settings.image_size_px,
        maxEpochs=settings.epochs,
        seed=settings.seed,
    )
    rule = SplitRule(fractions={"train": 0.7, "valid": 0.1, "test": 0.2}, seed=settings.seed)
    result = run(
        spark,
        data.images,
        data.labels,
        storage.join(out, "run"),
        estimator,
        rule,
        say=say,
        beside_published=False,  # phantoms are not NIH's radiographs
    )
    return DemoResult(data=data, result=result, example=_abnormal_example(data))


def _abnormal_example(data: PhantomSet) -> Path:
    """The first image with a finding, for a prediction worth looking at."""
    rows = Path(data.labels).read_text(encoding="utf-8").splitlines()[1:]
    names = [row.split(",")[0] for row in rows if ",No Finding," not in row]
    return Path(data.images) / names[0]
