import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny batches: threads that wait for each other cost more than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def small_keras_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models that Keras built and saved, with images and what it made of them, by name."""
    return _saved_by_keras(tmp_path_factory.mktemp("keras"), "small", "sequence")


@pytest.fixture(scope="session")
def keras_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, with networks of keras.applications."""
    names = ("small", "nested", "sequence", "mobilenet_v2", "mobilenet_v3", "densenet121")
    return _saved_by_keras(tmp_path_factory.mktemp("keras"), *names)


def _saved_by_keras(folder: Path, *names: str) -> Path:
    script = Path(__file__).resolve().parents[1] / "support" / "keras_models.py"
    environment = os.environ | {"KERAS_BACKEND": "torch", "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [sys.executable, str(script), str(folder), *names],
        check=True,
        env=environment,
        capture_output=True,
    )
    return folder
