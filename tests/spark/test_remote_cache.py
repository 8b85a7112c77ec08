"""A cache on storage that no path of a host reaches, from building it to training on it."""

import pytest

from hilum.training.local_copies import local_root


@pytest.mark.parametrize("placement", ["whole", "part"])
def test_a_cache_on_remote_storage_trains_the_same_model(trained, tmp_path, placement):
    """Remote to Hilum: "local://" is a URL of fsspec, and no path."""
    estimator = trained.estimator.copy().setParams(
        cacheDir=f"local://{tmp_path}/cache", runDir=str(tmp_path / "run"), placement=placement
    )
    model = estimator.fit(trained.data)
    expected = trained.model.summary["train_loss"].tolist()
    found = model.summary["train_loss"].tolist()
    (cache,) = (tmp_path / "cache").iterdir()
    copy = local_root() / f"cache-{cache.name}"
    try:
        assert found == pytest.approx(expected, rel=1e-5)
        assert copy.exists() == (placement == "whole")
        assert not list(local_root().glob("part-*"))
    finally:
        for path in (copy, local_root() / f"{copy.name}.lock"):
            remove(path)


def remove(path):
    if path.is_dir():
        for inner in path.iterdir():
            remove(inner)
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
