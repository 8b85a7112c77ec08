"""The command line called as a shell calls it, and a small model to use it on."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hilum.cli.main import main

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str


@pytest.fixture
def hilum(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Return a function: arguments to exit code, stdout and stderr."""

    def call(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["hilum", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "120")
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Answer(int(ended.value.code or 0), captured.out, captured.err)

    return call


Hilum = Callable[..., Answer]


@pytest.fixture
def hilum_here(
    hilum: Hilum, spark: "SparkSession", monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Answer]:
    """`hilum` for commands that start Spark: they get the tests' session, with its master.

    A session of their own is Java and Python workers that start anew, half a minute of CPU. Java's
    folder is that of the tests, so paths are absolute.
    """
    monkeypatch.setattr(type(spark), "stop", lambda session: None)  # as commands do at their end
    return lambda *arguments: hilum(*arguments, "--master", "local[2]")


@pytest.fixture(scope="session")
def bundle_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with random weights; enough to see that numbers arrive."""
    from hilum.inference import ModelBundle, save_bundle
    from hilum.models import build_classifier
    from hilum.preprocessing import radiograph_chain

    model, _ = build_classifier("timm:test_resnet", 2, weights="random", seed=0)
    bundle = ModelBundle(
        architecture="timm:test_resnet",
        findings=("Pneumonia", "Pleural_Thickening"),
        preprocessing=radiograph_chain(32, (0.5,) * 3, (0.25,) * 3),
        weights=model.state_dict(),
        provenance={"seed": 3, "versions": {"hilum": "0.1.0"}},
        metrics={"valid_mean_auroc": 0.75},
    )
    directory = tmp_path_factory.mktemp("models") / "bundle"
    save_bundle(bundle, str(directory))
    return directory


@pytest.fixture(scope="session")
def decided_directory(bundle_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model with calibration and a threshold for its first finding."""
    from hilum.evaluation.calibration import Calibration, FindingCalibration
    from hilum.evaluation.decision import DecisionRules
    from hilum.evaluation.operating import AtSpecificity, OperatingPoint
    from hilum.inference import load_bundle, save_bundle

    bundle = load_bundle(str(bundle_directory))
    point = OperatingPoint(
        rule=AtSpecificity(specificity=0.9),
        thresholds={"Pneumonia": 0.25, "Pleural_Thickening": None},
        images=40,
        patients=30,
        notes={"Pleural_Thickening": "0 patients with it and 30 without"},
    )
    steep = FindingCalibration(method="platt", slope=1.5, intercept=0.2)
    rules = DecisionRules(
        calibration=Calibration(findings=dict.fromkeys(bundle.findings, steep)),
        operating_points=(point,),
        split="valid",
        images=40,
        patients=30,
    )
    directory = tmp_path_factory.mktemp("models") / "decided"
    save_bundle(replace(bundle, decision_rules=rules), str(directory))
    return directory
