"""The command line called as a shell calls it, and a small model to use it on."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from hilum.cli.main import main


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
