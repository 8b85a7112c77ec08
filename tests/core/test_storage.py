"""Files appear whole or not at all, on any storage."""

import json

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum import storage

leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**50), 2**50)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9)
)


def containers(inner):
    return st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)


values = st.recursive(leaves, containers, max_leaves=6)


@pytest.fixture(params=["disk", "file", "memory"])
def root(request, tmp_path):
    if request.param == "memory":
        yield "memory://storage-test"
        memory = fsspec.filesystem("memory")
        if memory.exists("/storage-test"):  # a test may have deleted all of it
            memory.rm("/storage-test", recursive=True)
    else:
        yield str(tmp_path) if request.param == "disk" else tmp_path.as_uri()


def test_bytes_are_read_as_they_were_written(root):
    url = storage.join(root, "a", "b", "file.bin")
    assert not storage.exists(url)
    storage.write_bytes(url, b"\0one")
    assert storage.read_bytes(url) == b"\0one"
    storage.write_bytes(url, memoryview(b"two"))
    assert storage.read_bytes(url) == b"two"
    assert storage.list_names(storage.join(root, "a", "b")) == ["file.bin"], "nothing else is left"


def test_a_file_of_pieces_is_their_sum_and_its_digest_is_returned(root):
    url = storage.join(root, "a", "file.bin")
    digest = storage.write_pieces(url, iter([b"one", memoryview(b""), memoryview(b"two")]))
    assert storage.read_bytes(url) == b"onetwo"
    assert digest == storage.sha256_of(b"onetwo")

    def broken():
        yield b"half"
        raise RuntimeError("out of tensors")

    with pytest.raises(RuntimeError):
        storage.write_pieces(url, broken())
    assert storage.read_bytes(url) == b"onetwo"
    assert storage.list_names(storage.join(root, "a")) == ["file.bin"], "nothing else is left"


def test_trees_are_listed_and_deleted(root):
    for name in ("tree/b", "tree/a", "tree/deep/c"):
        storage.write_bytes(storage.join(root, name), b"x")
    tree = storage.join(root, "tree")
    assert storage.list_names(tree) == ["a", "b", "deep"]
    storage.delete_tree(tree)
    assert not storage.exists(tree)
    assert storage.list_names(tree) == []
    storage.delete_tree(tree)


def test_directories_are_made_with_their_parents(root):
    url = storage.join(root, "x", "y")
    storage.make_directory(url)
    storage.make_directory(url)
    assert storage.exists(url)


@given(st.dictionaries(st.text(max_size=5), values, max_size=4))
def test_json_round_trip(value):
    storage.write_json("memory://json-test/value.json", value)
    assert storage.read_json("memory://json-test/value.json") == value
    assert list(storage.read_json("memory://json-test/value.json")) == list(value)


def test_json_stays_strict_json(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        storage.write_json(str(tmp_path / "x.json"), {"loss": float("nan")})
    assert list(tmp_path.iterdir()) == []
    storage.write_json(str(tmp_path / "x.json"), {"a": 1})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": 1}


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(tmp_path):
    url = str(tmp_path / "file")
    storage.write_bytes(url, b"old")
    with pytest.raises(TypeError):
        storage.write_bytes(url, "text is no bytes")
    assert storage.read_bytes(url) == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_directory_in_the_way_is_an_error_and_leaves_no_litter(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        storage.write_bytes(str(tmp_path / "taken"), b"data")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_relative_path_may_have_no_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    storage.write_bytes("file", b"here")
    assert (tmp_path / "file").read_bytes() == b"here"


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("/a/b", "/a/b"),
        ("a/b", "a/b"),
        ("file:/a/b", "/a/b"),
        ("file:///a/b", "/a/b"),
        ("s3://bucket/a", None),
        ("hdfs:///a", None),
    ],
)
def test_local_paths_are_told_from_urls(url, path):
    found = storage.local_path(url)
    assert (None if found is None else str(found)) == path


@pytest.mark.parametrize(
    ("parts", "joined"),
    [
        (("/a/", "b"), "/a/b"),
        (("s3://c", "d", "e"), "s3://c/d/e"),
        (("/", "a"), "/a"),
        (("memory://", "a"), "memory://a"),
        (("hdfs:///", "a"), "hdfs:///a"),
        (("a",), "a"),
    ],
)
def test_parts_are_joined_with_one_slash(parts, joined):
    assert storage.join(*parts) == joined


@pytest.mark.parametrize(
    ("url", "above"),
    [
        ("hdfs:///bundle", "hdfs:///"),
        ("hdfs://nn:9000/a/bundle/", "hdfs://nn:9000/a"),
        ("s3://bucket", "s3://bucket/"),
        ("s3://bucket/a/b/bundle", "s3://bucket/a/b"),
        ("/a/bundle", "/a"),
    ],
)
def test_the_folder_above_stays_on_its_storage(url, above):
    assert storage.parent(url) == above
    assert storage.join(above, "x").startswith(above)


def test_sha256_is_the_standards():
    # NIST FIPS 180-4 example: "abc"
    assert storage.sha256_of(b"abc").startswith("ba7816bf8f01cfea414140de5dae2223")


def test_what_a_killed_write_left_is_deleted_and_nothing_else(tmp_path):
    storage.write_bytes(str(tmp_path / "kept.bin"), b"kept")
    (tmp_path / f".cut.bin.{'0' * 31}a").write_bytes(b"half")  # as write_bytes names it
    (tmp_path / ".hidden").write_bytes(b"the user's own")
    storage.delete_unfinished(str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden", "kept.bin"]
    storage.delete_unfinished(str(tmp_path / "absent"))


def test_settings_of_fsspec_reach_files_that_are_read_from_s3(monkeypatch):
    s3 = pytest.importorskip("hilum.storage.s3")

    paid = {"requester_pays": True, "s3_additional_kwargs": {"ExpectedBucketOwner": "1"}}
    monkeypatch.setitem(fsspec.config.conf, "s3", paid | {"default_cache_type": "none"})
    with s3.S3().open("bucket/key", "rb", size=3) as file:
        assert file.req_kw == {"RequestPayer": "requester"}
        assert file.s3_additional_kwargs == {"ExpectedBucketOwner": "1"}
        assert file.cache.name == "none"
