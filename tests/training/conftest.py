"""Run directories over a small pixel cache, made without Spark."""

import pytest

from hilum import storage
from hilum.models import build_classifier
from hilum.training import TrainJob, prepare_run
from training_cases import OUTPUTS, config, write_cache


@pytest.fixture
def cache_directory(tmp_path):
    write_cache(tmp_path / "cache")
    return str(tmp_path / "cache")


@pytest.fixture
def make_run(tmp_path, cache_directory):
    """Start a run directory with these configuration changes and return its path."""

    def make(name="run", **changes):
        settings = config(**changes)
        model, _ = build_classifier(
            settings.blueprint, len(OUTPUTS), weights="random", dropout=0.3, seed=1
        )
        run = str(tmp_path / name)
        prepare_run(run, TrainJob(config=settings, cache_directory=cache_directory), model)
        return run

    return make


@pytest.fixture
def remote_cache():
    """The same cache on storage that no path reaches."""
    write_cache("memory://hilum-caches/f")
    yield "memory://hilum-caches/f"
    storage.delete_tree("memory://hilum-caches")
