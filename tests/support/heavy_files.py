"""Test files that take long, so that the first to start are those that would end last.

Two processes share the test run, a file at a time. A file of three minutes that starts last keeps
one of them busy alone. CPU seconds of a file alone on two cores, roughly; only the order counts.
"""

__all__ = ["CPU_SECONDS", "seconds_of"]

CPU_SECONDS = {
    "docs/test_docs_run.py": 350,
    "cli/test_cluster_run.py": 260,
    "cli/test_killed_driver.py": 145,
    "zoo/test_zoo_examples.py": 140,
    "clusters/test_remote_storage.py": 130,
    "clusters/test_yarn.py": 120,
    "recipes/test_comparing.py": 115,
    "spark/test_restarts.py": 110,
    "examples/test_beyond.py": 90,
    "clusters/test_standalone.py": 90,
    "clusters/test_hosts.py": 80,
    "recipes/test_reporting.py": 75,
    "spark/test_classifier.py": 80,
    "spark/test_any_model.py": 75,
    "recipes/test_training_recipe.py": 70,
    "training/test_restarts.py": 70,
    "spark/test_cache.py": 68,
    "zoo/test_zoo_frames.py": 55,
    "core/test_storage_servers.py": 55,
    "cli/test_remote_run.py": 50,
    "cli/test_interrupted_run.py": 50,
    "spark/test_tuning.py": 50,
    "spark/test_model.py": 45,
    "spark/test_barrier.py": 42,
    "training/test_any_model.py": 40,
    "spark/test_connect.py": 40,
    "spark/test_estimator.py": 38,
    "spark/test_remote_cache.py": 37,
    "training/test_flat_memory.py": 28,
}


def seconds_of(path: str) -> int:
    """Seconds of a test file by its path or test id; 0 for those that are not heavy."""
    return next((s for name, s in CPU_SECONDS.items() if path.partition("::")[0].endswith(name)), 0)
