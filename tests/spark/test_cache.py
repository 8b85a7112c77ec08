"""The pixel cache: reused if nothing changed, rebuilt if anything did, whole or not there."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from hilum.errors import ChecksumError, InvalidValueError
from hilum.preprocessing import Chain, Resize
from hilum.spark import CacheColumns, build_cache, read_radiographs
from hilum.training import open_cache
from image_files import picture, png, write_files

COLUMNS = CacheColumns(image="image", labels="labels", split="split")
PREFIX = Chain((Resize(16, 16),))
NAMES = [f"{i}.png" for i in range(6)]
LABELS = {name: [float(i % 2), None if i == 3 else 1.0] for i, name in enumerate(NAMES)}
SPLITS = {name: "valid" if i == 5 else "train" for i, name in enumerate(NAMES)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = {name: png(picture(i, 30, 24)) for i, name in enumerate(NAMES)}
    return write_files(tmp_path / "images", files)


@pytest.fixture
def table(spark: SparkSession, folder: Path):
    """Return a function: changed labels or splits to the DataFrame of the folder as it is now."""

    def make(labels=None, splits=None) -> DataFrame:
        labels, splits = LABELS | (labels or {}), SPLITS | (splits or {})
        rows = [(name, labels[name], splits.get(name, "train")) for name in labels]
        known = spark.createDataFrame(rows, "file_name string, labels array<float>, split string")
        return read_radiographs(spark, str(folder)).join(known, "file_name").coalesce(2)

    return make


@pytest.fixture
def caches(tmp_path: Path) -> Path:
    return tmp_path / "caches"


def build(data: DataFrame, caches: Path, prefix: Chain = PREFIX, columns=COLUMNS) -> str:
    return build_cache(data, columns, prefix, str(caches))


def published(cache: str) -> tuple[int, bytes]:
    manifest = Path(cache) / "manifest.json"
    return manifest.stat().st_mtime_ns, manifest.read_bytes()


def test_pixels_labels_and_splits_are_those_of_the_table(table, folder, caches):
    cache = open_cache(build(table(), caches))
    assert [Path(key).name for key in cache.keys] == NAMES
    for position, name in enumerate(NAMES):
        drawn = torch.from_numpy(picture(position, 30, 24))[None, None]
        assert np.array_equal(cache.gather(np.array([position]))[0], PREFIX(drawn)[0].numpy())
        expected = [np.nan if value is None else value for value in LABELS[name]]
        np.testing.assert_array_equal(cache.labels[position], np.float32(expected))
        assert cache.splits[position] == SPLITS[name]
    assert np.isnan(cache.labels[3, 1]), "an unknown label is NaN"


def test_an_unchanged_data_set_is_not_built_again(table, caches):
    first = build(table(), caches)
    before = published(first)
    assert build(table(), caches) == first
    assert published(first) == before


def test_a_changed_file_label_split_or_chain_gives_another_cache(table, folder, caches):
    paths = [build(table(), caches)]
    paths.append(build(table(labels={"1.png": [0.0, 1.0]}), caches))
    paths.append(build(table(splits={"1.png": "valid"}), caches))
    paths.append(build(table(), caches, Chain((Resize(12, 16),))))
    (folder / "2.png").write_bytes(png(picture(77, 30, 24)))
    later = time.time() + 5
    os.utime(folder / "2.png", (later, later))
    paths.append(build(table(), caches))
    assert len(set(paths)) == len(paths)
    again = open_cache(paths[-1])
    drawn = torch.from_numpy(picture(77, 30, 24))[None, None]
    assert np.array_equal(again.gather(np.array([2]))[0], PREFIX(drawn)[0].numpy())


def test_an_unknown_label_that_moves_to_another_finding_gives_another_cache(table, caches):
    first = build(table(labels={"1.png": [None, 1.0]}), caches)
    second = build(table(labels={"1.png": [1.0, None]}), caches)
    assert first != second
    np.testing.assert_array_equal(open_cache(second).labels[1], np.float32([1.0, np.nan]))


def test_two_jobs_at_once_give_one_valid_cache(table, caches):
    with ThreadPoolExecutor(2) as pool:
        data = [table(), table()]
        first, second = pool.map(lambda frame: build(frame, caches), data)
    assert first == second
    cache = open_cache(first, verify=True)
    assert [Path(key).name for key in cache.keys] == NAMES
    assert len({shard.name.split("/")[0] for shard in cache.manifest.shards}) == 1


def test_a_build_that_fails_midway_leaves_nothing_and_says_why(table, folder, caches):
    (folder / "4.png").write_bytes(png(picture(4, 10, 10)))
    with pytest.raises(InvalidValueError, match=r"one shape.*Resize"):
        build(table().coalesce(1), caches, Chain(()))
    assert not [path for path in caches.rglob("*") if path.is_file()]
    assert not list(caches.glob("*/build-*"))


def test_shapes_that_differ_between_tasks_are_refused_too(table, folder, caches):
    for name in NAMES[3:]:
        (folder / name).write_bytes(png(picture(4, 10, 10)))
    with pytest.raises(InvalidValueError, match=r"one shape.*Resize"):
        build(table().repartition(6, "file_name"), caches, Chain(()))
    assert not list(caches.glob("*/manifest.json"))


def test_damaged_pixels_are_found_by_their_checksum(table, caches):
    cache = build(table(), caches)
    shard = next(Path(cache).glob("build-*/shard-*.npy"))
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(bytes(data))
    with pytest.raises(ChecksumError, match=shard.name):
        open_cache(cache)


def test_pixels_changed_by_the_users_own_function_are_noticed(table, caches):
    first = build(table(), caches)
    before = published(first)
    mirrored = F.unhex(F.reverse(F.hex("image.data")))
    changed = table().withColumn("image", F.col("image").withField("data", mirrored))
    assert build(changed, caches) == first, "same files, so the same name"
    assert published(first) != before
    plain = open_cache(build(table(), caches))
    drawn = torch.from_numpy(picture(0, 30, 24))[None, None]
    assert np.array_equal(plain.gather(np.array([0]))[0], PREFIX(drawn)[0].numpy())


def test_files_nobody_can_read_are_counted_by_reason(table, folder, caches):
    (folder / "0.png").write_bytes(b"no image at all")
    (folder / "1.png").write_bytes(b"")
    (folder / "2.png").write_bytes(b"nor this one")
    cache = open_cache(build(table(), caches))
    assert len(cache) == 3
    assert dict(cache.manifest.rejected) == {"not_an_image": 2, "empty": 1}


def test_rows_without_a_split_are_left_out(table, caches):
    cache = open_cache(build(table(splits={"1.png": None}), caches))
    assert len(cache) == 5
    columns = CacheColumns(image="image", labels="labels", split=None)
    everything = open_cache(build(table(splits={"1.png": None}), caches, columns=columns))
    assert everything.splits.tolist() == ["train"] * 6


def test_a_number_column_is_one_finding(table, caches):
    data = table().withColumn("label", F.col("labels")[0])
    columns = CacheColumns(image="image", labels="label", split="split")
    cache = open_cache(build(data, caches, columns=columns))
    assert cache.labels.shape == (6, 1)
    assert cache.labels[:, 0].tolist() == [0, 1, 0, 1, 0, 1]


def test_label_arrays_of_different_lengths_are_refused(table, caches):
    with pytest.raises(InvalidValueError, match=r"same number of elements.*null element"):
        build(table(labels={"1.png": [1.0]}), caches)
    assert not list(caches.glob("*/manifest.json"))


def test_frames_that_are_not_files_are_cached_by_their_pixels(table, caches):
    image = F.col("image").dropFields("origin").alias("image")
    data = table().select(image, "labels", "split")
    first = build(data, caches)
    assert len(set(open_cache(first).keys)) == 6
    assert build(data, caches) == first


def test_a_data_set_without_rows_says_what_to_compare(table, caches):
    with pytest.raises(InvalidValueError, match="file_name"):
        build(table().filter("file_name = 'none'"), caches)


def test_weights_come_along_and_a_bad_one_is_a_rejected_row(table, caches):
    weights = dict(zip(NAMES, [2.0, 0.0, None, -1.0, float("nan"), 0.5], strict=True))
    cases = [
        F.lit(name) if at else F.lit(value) for name, value in weights.items() for at in (1, 0)
    ]
    data = table().withColumn("weight", F.create_map(*cases)[F.col("file_name")])
    columns = CacheColumns(image="image", labels="labels", split="split", weight="weight")
    directory = build(data, caches, columns=columns)
    cache = open_cache(directory)
    assert [Path(key).name for key in cache.keys] == ["0.png", "1.png", "5.png"]
    assert cache.weights.tolist() == [2.0, 0.0, 0.5]
    assert cache.manifest.rejected == {"bad_weight": 3}
    before = published(directory)
    assert build(data, caches, columns=columns) == directory
    assert published(directory) == before
    unweighted = build(table(), caches)
    assert unweighted != directory
    assert open_cache(unweighted).weights.tolist() == [1.0] * len(NAMES)
