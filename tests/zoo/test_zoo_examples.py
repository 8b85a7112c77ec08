"""The examples in the form of the public notebooks run, on real radiographs if there are some."""

import io
import os
import re
import runpy
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from hilum.findings import FINDINGS
from hilum.inference import load_bundle
from hilum.phantom import PhantomConfig, write_dataset
from warm_command import run_script

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NUM_IMAGES = 40
SIZES = ("--read", "64", "--crop", "56")
CLUSTER = ("--master", "local-cluster[2,1,3072]")


@dataclass(frozen=True)
class Radiographs:
    """Images, their table, and the network to start from."""

    images: Path
    labels: Path
    model: tuple[str, ...]


@pytest.fixture(scope="module")
def radiographs(tmp_path_factory: pytest.TempPathFactory) -> Radiographs:
    folder = tmp_path_factory.mktemp("radiographs")
    real = Path(os.environ.get("HILUM_REAL_DATA", "nowhere"))
    if not (real / "models" / "graph.bigdl").is_file():
        config = PhantomConfig(size_px=64, seed=1, prevalence_floor=0.3)
        write_dataset(folder, NUM_IMAGES, config)
        model = ("--model", "resnet18", "--weights", "random")
        return Radiographs(folder / "images", folder / "Data_Entry_2017.csv", model)
    nih, saved = real / "nih-pneumonia", real / "models" / "graph"
    for file in sorted((nih / "images").iterdir())[:NUM_IMAGES]:
        (folder / file.name).symlink_to(file)
    model = ("--model", f"{saved}.bigdl", "--weights", f"{saved}.bin")
    return Radiographs(folder, nih / "Data_Entry_2017_v2020.csv", model)


def notebook(name: str, *arguments: str | Path) -> str:
    """What an example prints in a session that runs: a context that is there is taken."""
    script = EXAMPLES / name
    printed = io.StringIO()
    words = [str(word) for word in (script, *arguments, "--master", "local[2]")]
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
        patch.setattr(sys, "argv", words)
        runpy.run_path(str(script), run_name="__main__")
    return printed.getvalue()


def training_arguments(radiographs: Radiographs, saved: Path) -> tuple[str | Path, ...]:
    where = ("--images", radiographs.images, "--labels", radiographs.labels, "--save", saved)
    return (*where, "--epochs", "1", "--batch", "16", *SIZES, *radiographs.model)


@pytest.fixture(scope="module")
def training(
    spark: SparkSession, radiographs: Radiographs, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    """What the training example prints, and the folder it saves to."""
    saved = tmp_path_factory.mktemp("saved")
    return notebook("chest_xray_training.py", *training_arguments(radiographs, saved)), saved


@pytest.mark.slow
@pytest.mark.cluster
def test_the_training_notebooks_form_counts_the_executors_of_a_cluster(radiographs, tmp_path):
    arguments = (*training_arguments(radiographs, tmp_path), *CLUSTER)
    done = run_script(EXAMPLES / "chest_xray_training.py", *arguments, cwd=EXAMPLES)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Number of Executors =  2" in done.stdout


@pytest.mark.slow
def test_the_training_notebooks_form_trains_and_prints_an_auc_per_disease(training):
    printed, saved = training
    assert "Number of Executors =  1" in printed
    counts = re.findall(r"Number of (?:training|validation) images:\s+(\d+)", printed)
    assert sum(map(int, counts)) == NUM_IMAGES
    rows = re.findall(r"ROC score for\s+(\w+)\s+is:\s+(\S+)", printed)
    assert [name for name, _ in rows] == list(FINDINGS)
    scores = [float(score) for _, score in rows]
    assert all(0 <= score <= 1 for score in scores)
    mean = float(re.search(r"Average AUC:\s+(\S+)", printed)[1])
    assert mean == pytest.approx(sum(scores) / 14)
    assert len(list((saved / "xray_save_summary" / "Chest X-ray Training").iterdir())) == 2


@pytest.mark.slow
def test_the_inference_notebooks_form_predicts_one_image(training, radiographs):
    _, saved = training
    (model,) = saved.glob("*.bigdl")
    assert load_bundle(str(model)).findings == FINDINGS
    image = sorted(radiographs.images.iterdir())[0]
    where = ("--image", image, "--labels", radiographs.labels)
    printed = notebook("chest_xray_inference.py", model, *where, *SIZES)
    rows = re.findall(r"^(\w+)\s+- (\S+)\s+- (\S+)\s*$", printed, flags=re.MULTILINE)[1:]
    assert [name for name, _, _ in rows] == list(FINDINGS)
    assert all(0 < float(probability) < 1 for _, probability, _ in rows)
    assert {float(label) for _, _, label in rows} <= {0.0, 1.0}
