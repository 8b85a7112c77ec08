import logging
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from hilum import storage
from hilum.errors import ChecksumError
from hilum.training import open_cache, staging
from hilum.training.staging import stage_cache


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(staging, "RETRY_AFTER_S", 0.0)


def damage(url):
    data = bytearray(storage.read_bytes(url))
    data[-1] ^= 1
    storage.write_bytes(url, bytes(data))


def test_a_staged_cache_is_the_remote_one(remote_cache, cache_directory, tmp_path):
    hold = stage_cache(remote_cache, tmp_path, verify=True)
    here = open_cache(str(hold.path))
    everything = np.arange(23)
    assert (here.gather(everything) == open_cache(cache_directory).gather(everything)).all()
    hold.close()


def test_ranks_of_a_host_copy_once_and_later_runs_not_at_all(remote_cache, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    with ThreadPoolExecutor(4) as pool:
        holds = list(
            pool.map(lambda rank: stage_cache(remote_cache, tmp_path, verify=rank == 0), range(4))
        )
    for hold in holds:
        hold.close()
    stage_cache(remote_cache, tmp_path, verify=True).close()
    assert caplog.text.count("state=copied") == 1


@pytest.mark.timeout(20)
def test_a_rank_that_comes_late_does_not_wait_for_the_end_of_the_others_runs(
    remote_cache, tmp_path, monkeypatch
):
    training = stage_cache(remote_cache, tmp_path, verify=True)
    really, seen = staging._is_whole, []

    def looks_before_the_copy_is_there(path, manifest):
        seen.append(len(seen) > 0 and really(path, manifest))
        return seen[-1]

    monkeypatch.setattr(staging, "_is_whole", looks_before_the_copy_is_there)
    stage_cache(remote_cache, tmp_path, verify=False).close()
    assert seen == [False, True]
    training.close()


def test_a_copy_that_the_disk_damaged_is_mended(remote_cache, tmp_path):
    hold = stage_cache(remote_cache, tmp_path, verify=True)
    hold.close()
    damage(str(hold.path / "build/shard-0009.npy"))
    (hold.path / "build/index.parquet").unlink()
    with pytest.raises(ChecksumError):
        open_cache(str(hold.path))
    stage_cache(remote_cache, tmp_path, verify=True).close()
    open_cache(str(hold.path), verify=True)


def test_a_copy_without_its_last_file_is_made_again(remote_cache, tmp_path):
    hold = stage_cache(remote_cache, tmp_path, verify=True)
    hold.close()
    (hold.path / "manifest.json").unlink()
    (hold.path / "build/shard-0000.npy").unlink()
    stage_cache(remote_cache, tmp_path, verify=False).close()
    open_cache(str(hold.path), verify=True)


def test_what_storage_damaged_is_refused_and_leaves_nothing(remote_cache, tmp_path):
    damage(f"{remote_cache}/build/shard-0009.npy")
    with pytest.raises(ChecksumError, match="shard-0009"):
        stage_cache(remote_cache, tmp_path, verify=True)
    assert list(tmp_path.glob("cache-f*")) == []
