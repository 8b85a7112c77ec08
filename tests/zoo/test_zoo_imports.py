"""Scripts of 2019 run with their import lines changed; the table in the docs is true."""

import importlib
import re
from pathlib import Path

import hilum.zoo
from hilum.zoo.old_paths import PATHS

ROOT = Path(__file__).resolve().parents[2]

# The import lines of the two public notebooks that name the 2019 stack.
NOTEBOOK_LINES = """
from bigdl.optim.optimizer import SGD, SequentialSchedule, Warmup, Poly, Plateau, EveryEpoch
from bigdl.optim.optimizer import TrainSummary, ValidationSummary, SeveralIteration, Step
from bigdl.optim.optimizer import L2Regularizer
from zoo.common.nncontext import *
from zoo.feature.image.imagePreprocessing import *
from zoo.feature.common import ChainedPreprocessing
from zoo.pipeline.api.keras.layers import Input, Flatten, Dense, GlobalAveragePooling2D, Dropout
from zoo.pipeline.api.keras.metrics import AUC
from zoo.pipeline.api.keras.optimizers import Adam
from zoo.pipeline.api.keras.models import Model
from zoo.pipeline.api.net import Net
from zoo.pipeline.nnframes import NNEstimator, NNImageReader
from zoo.pipeline.api.keras.objectives import BinaryCrossEntropy
from bigdl.nn.layer import Model
from bigdl.nn.criterion import *
from bigdl.optim.optimizer import *
from zoo.feature.image import *
from zoo.models.image.imageclassification import *
from zoo.pipeline.nnframes import *
from zoo.pipeline.api.keras.models import Sequential
from zoo.pipeline.api.keras.layers import *
"""

# What the notebooks call that their star imports have to bring.
CALLED = """
create_spark_conf init_nncontext os RowToImageFeature ImageCenterCrop ImageRandomPreprocessing
ImageHFlip ImageBrightness ImageChannelNormalize ImageMatToTensor ImageFeatureToTensor
ChainedPreprocessing NNImageReader NNModel NNEstimator Net Model Input Dense Dropout
GlobalAveragePooling2D L2Regularizer SGD Adam AUC BinaryCrossEntropy TrainSummary
ValidationSummary EveryEpoch SeveralIteration SequentialSchedule Warmup Plateau
"""


def with_lines_changed(script: str) -> str:
    """What docs/migration.md says to do: two replacements at the beginning of import lines."""
    script = re.sub(r"^(from|import) zoo\b", r"\1 hilum.zoo", script, flags=re.MULTILINE)
    return re.sub(r"^(from|import) bigdl\b", r"\1 hilum.zoo.bigdl", script, flags=re.MULTILINE)


def test_the_notebooks_import_lines_run_with_a_prefix():
    names: dict[str, object] = {}
    exec(with_lines_changed(NOTEBOOK_LINES), names)
    assert [name for name in CALLED.split() if name not in names] == []


def test_a_module_of_2019_can_also_be_imported_whole():
    importlib.import_module("hilum.zoo.pipeline.api.net")
    assert hilum.zoo.pipeline.api.net.Net is hilum.zoo.Net
    for path, names in PATHS.items():
        assert importlib.import_module(f"hilum.zoo.{path}").__all__ == sorted(names)


def test_adam_has_the_arguments_of_the_module_it_comes_from():
    names: dict[str, object] = {}
    exec(with_lines_changed("from bigdl.optim.optimizer import Adam"), names)
    assert names["Adam"](learningrate=0.1, beta1=0.8).params()["betas"] == [0.8, 0.999]
    exec(with_lines_changed("from zoo.pipeline.api.keras.optimizers import Adam"), names)
    assert names["Adam"](lr=0.1, beta_1=0.8).params()["betas"] == [0.8, 0.999]


def names_of_2019_in_the_docs() -> list[str]:
    """First column of the tables of names in docs/migration.md."""
    page = (ROOT / "docs" / "migration.md").read_text(encoding="utf-8")
    section = page.split("## Names", 1)[1].split("\n## ", 1)[0]
    cells = re.findall(r"^\| (`[^|]+) \|", section, flags=re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]


def test_every_name_in_the_table_of_the_docs_exists():
    listed = names_of_2019_in_the_docs()
    assert len(listed) > 80
    assert [name for name in listed if not hasattr(hilum.zoo, name)] == []


def test_every_public_name_is_in_the_table_of_the_docs():
    assert sorted(set(hilum.zoo.__all__) - set(names_of_2019_in_the_docs())) == []


def test_every_capability_of_2019_that_the_paper_could_use_is_answered():
    page = (ROOT / "docs" / "migration.md").read_text(encoding="utf-8")
    section = page.split("## Capabilities", 1)[1]
    answered = [int(number) for number in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)]
    assert answered == list(range(1, 44))
