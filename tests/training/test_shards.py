import numpy as np
import pytest

from hilum import storage
from hilum.errors import ChecksumError, InvalidValueError
from hilum.training import open_cache


def test_gather_returns_the_images_asked_for_in_that_order(cache_directory):
    cache = open_cache(cache_directory)
    everything = cache.gather(np.arange(len(cache)))
    chosen = np.array([22, 0, 9, 8, 9])
    assert (cache.gather(chosen) == everything[chosen]).all()
    assert everything.shape == (23, 1, 36, 36)


def test_gather_fills_a_buffer_that_is_given(cache_directory):
    cache = open_cache(cache_directory)
    out = np.empty((2, 1, 36, 36), dtype=np.uint8)
    assert cache.gather(np.array([1, 2]), out) is out
    assert (out == cache.gather(np.array([1, 2]))).all()


def test_unknown_labels_are_nan_and_splits_partition_the_images(cache_directory):
    cache = open_cache(cache_directory)
    assert np.isnan(cache.labels[3, 0])
    assert not np.isnan(np.delete(cache.labels, 3, axis=0)).any()
    together = np.concatenate([cache.positions("train"), cache.positions("valid")])
    assert sorted(together.tolist()) == list(range(23))


@pytest.mark.parametrize("name", ["build/shard-0009.npy", "build/index.parquet"])
def test_a_flipped_byte_is_found_and_said(cache_directory, name):
    path = storage.local_path(storage.join(cache_directory, name))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(ChecksumError, match=name):
        open_cache(cache_directory)


@pytest.mark.parametrize("damage", ["missing", "empty", "cut"])
def test_a_damaged_shard_is_found_and_said(cache_directory, damage):
    path = storage.local_path(storage.join(cache_directory, "build/shard-0000.npy"))
    data = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(b"" if damage == "empty" else data[: len(data) // 2])
    with pytest.raises(ChecksumError, match="shard-0000"):
        open_cache(cache_directory)


def test_a_cache_of_another_format_version_is_refused(cache_directory):
    url = storage.join(cache_directory, "manifest.json")
    storage.write_json(url, {**storage.read_json(url), "format_version": 99})
    with pytest.raises(InvalidValueError, match="99"):
        open_cache(cache_directory)


def test_a_file_that_was_cut_after_it_was_opened_is_said_and_kills_nothing(cache_directory):
    cache = open_cache(cache_directory)
    path = storage.local_path(storage.join(cache_directory, "build/shard-0000.npy"))
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ChecksumError, match="must hold image 8"):
        cache.gather(np.array([8]))


def test_a_file_that_is_no_shard_is_said(cache_directory):
    path = storage.local_path(storage.join(cache_directory, "build/shard-0000.npy"))
    path.write_bytes(b"no numpy array at all")
    with pytest.raises(ChecksumError, match="must be a shard of uint8 images"):
        open_cache(cache_directory, verify=False).gather(np.array([0]))


def test_a_cache_on_remote_storage_can_be_looked_at(cache_directory, remote_cache):
    here, there = open_cache(cache_directory), open_cache(remote_cache)
    chosen = np.array([22, 0, 9])
    assert (there.gather(chosen) == here.gather(chosen)).all()
    assert there.keys == here.keys
    assert np.array_equal(there.labels, here.labels, equal_nan=True)
