"""Test files that take long, so that the first to start are those that would end last.

Two processes share the test run, a file at a time. A file of three minutes that starts last keeps
one of them busy alone. Seconds of a file beside another one, roughly; only the order counts.
"""

__all__ = ["SECONDS", "seconds_of"]

SECONDS = {
    "cli/test_killed_driver.py": 145,
    "clusters/test_remote_storage.py": 130,
    "clusters/test_yarn.py": 120,
    "docs/test_docs_run.py": 100,
    "cli/test_cluster_run.py": 95,
    "clusters/test_standalone.py": 90,
    "spark/test_restarts.py": 85,
    "examples/test_beyond.py": 80,
    "clusters/test_hosts.py": 80,
    "recipes/test_comparing.py": 45,
    "examples/test_wrangling.py": 45,
    "core/test_storage_servers.py": 42,
    "cli/test_remote_run.py": 40,
    "zoo/test_zoo_examples.py": 40,
    "training/test_restarts.py": 35,
    "recipes/test_training_recipe.py": 35,
    "cli/test_interrupted_run.py": 33,
    "spark/test_connect.py": 27,
    "spark/test_cache.py": 20,
    "recipes/test_watch_folder.py": 20,
    "recipes/test_reporting.py": 19,
    "zoo/test_zoo_frames.py": 17,
    "training/test_flat_memory.py": 15,
    "spark/test_tuning.py": 14,
    "models/test_damaged_models.py": 13,
    "training/test_retries.py": 12,
}


def seconds_of(path: str) -> int:
    """Seconds of a test file by its path or test id; 0 for those that are not heavy."""
    return next((s for name, s in SECONDS.items() if path.partition("::")[0].endswith(name)), 0)
