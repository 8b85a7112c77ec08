"""The storage battery against real servers: HDFS over its own name node and data node."""

import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from hadoop import HadoopMissingError, Hdfs, hadoop_jars
from hilum import storage
from hilum.storage import hadoop_settings


@pytest.fixture(scope="module")
def hdfs(tmp_path_factory):
    try:
        hadoop_jars()
    except HadoopMissingError as error:
        pytest.skip(str(error))
    with Hdfs(tmp_path_factory.mktemp("hdfs")) as running:
        yield running


@pytest.fixture
def conf(hdfs, monkeypatch):
    monkeypatch.setenv("HADOOP_CONF_DIR", str(hdfs.conf))
    return hdfs


@pytest.fixture
def root(conf):
    return conf.url(uuid.uuid4().hex)


def test_files_are_written_read_listed_and_deleted(root):
    url = storage.join(root, "a", "b", "file.bin")
    assert not storage.exists(url)
    storage.write_bytes(url, b"\0one")
    storage.write_bytes(url, memoryview(b"0123456789"))
    assert storage.read_bytes(url) == b"0123456789"
    assert storage.read_range(url, 3, 5) == b"34"
    assert storage.read_range(url, 8, 99) == b"89", "fewer where it ends before"
    assert storage.list_names(storage.join(root, "a", "b")) == ["file.bin"], "nothing else is left"
    assert abs((storage.modified_s(url) or 0) - time.time()) < 60
    storage.delete_tree(root)
    assert not storage.exists(url)
    assert storage.list_names(root) == []
    storage.delete_tree(root)


def test_a_file_that_is_not_there_is_said_to_be_missing(root):
    with pytest.raises(FileNotFoundError):
        storage.read_bytes(storage.join(root, "none"))


@pytest.mark.parametrize("name", ["with space.txt", "Größe-胸部.json", "a+b=c&d%20.png"])
def test_names_of_any_letters(root, name):
    url = storage.join(root, name)
    storage.write_bytes(url, name.encode())
    assert storage.read_bytes(url).decode() == name
    assert storage.list_names(root) == [name]


def test_a_file_larger_than_a_block_comes_to_disk_whole(root, tmp_path):
    data = bytes(range(256)) * (12 * 2**12)  # 12 MiB: blocks of 1 MiB
    url = storage.join(root, "large")
    digest = storage.write_pieces(url, [data[:1000], data[1000:]])
    assert storage.copy_to_disk(url, tmp_path / "large") == digest == storage.sha256_of(data)
    assert storage.read_range(url, 2**20 - 2, 2**20 + 2) == data[2**20 - 2 : 2**20 + 2]


def test_a_reader_sees_the_old_file_or_the_new_one(root):
    """While a small file that points to others is replaced, as checkpoints and manifests are."""
    url = storage.join(root, "latest.json")
    storage.write_json(url, {"step": 0})
    done = threading.Event()

    def write():
        try:
            for step in range(1, 30):
                storage.write_json(url, {"step": step})
        finally:
            done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = []
    while not done.is_set():
        seen.append(storage.read_json(url)["step"])
    writer.join()
    assert seen == sorted(seen)
    assert storage.read_json(url) == {"step": 29}


def test_a_data_node_that_comes_back_is_waited_for(conf):
    url = conf.url("outage", "file")
    storage.write_bytes(url, b"before")
    conf.datanode.kill()
    with ThreadPoolExecutor(1) as writer:
        written = writer.submit(storage.write_bytes, url, b"after")
        time.sleep(1.0)
        conf.datanode.start()  # here, as a daemon dies with the thread that started it
        written.result()
    assert storage.read_bytes(url) == b"after"
    assert storage.list_names(conf.url("outage")) == ["file"]


def test_a_folder_without_the_right_to_write_is_refused_with_the_user(conf, monkeypatch):
    storage.write_bytes(conf.url("own", "file"), b"x")
    monkeypatch.setenv("HADOOP_USER_NAME", "stranger")
    with pytest.raises(PermissionError, match=r"stranger.*HADOOP_USER_NAME"):
        storage.write_bytes(conf.url("own", "file"), b"y")


def test_a_full_hdfs_leaves_the_old_file(conf):
    storage.write_bytes(conf.url("full", "file"), b"old")
    conf.dfsadmin("-setSpaceQuota", "2m", "/full")
    with pytest.raises(OSError, match=r"[Qq]uota"):
        storage.write_bytes(conf.url("full", "file"), bytes(3 * 2**20))
    assert storage.read_bytes(conf.url("full", "file")) == b"old"
    assert storage.list_names(conf.url("full")) == ["file"]


def test_nobody_at_the_address_is_an_error_that_names_it(monkeypatch):
    monkeypatch.setattr("hilum.storage.webhdfs.RETRY_S", 0.3)
    monkeypatch.setenv(hadoop_settings.OVERRIDE, "http://127.0.0.1:1")
    with pytest.raises(OSError, match=r"127\.0\.0\.1:1.*HILUM_WEBHDFS"):
        storage.exists("hdfs://nowhere/file")


@pytest.mark.parametrize(
    ("url", "settings", "addresses"),
    [
        ("hdfs://nn/x", {}, ("http://nn:9870",)),
        ("hdfs:///x", {"fs.defaultFS": "hdfs://nn:9000"}, ("http://nn:9870",)),
        (
            "hdfs:///x",
            {"fs.defaultFS": "hdfs://nn:9000", "dfs.namenode.http-address": "0.0.0.0:50070"},
            ("http://nn:50070",),
        ),
        (
            "hdfs://pair/x",
            {
                "dfs.ha.namenodes.pair": "a,b",
                "dfs.namenode.http-address.pair.a": "one:1",
                "dfs.namenode.http-address.pair.b": "two:2",
            },
            ("http://one:1", "http://two:2"),
        ),
        ("hdfs://nn/x", {"dfs.http.policy": "HTTPS_ONLY"}, ("https://nn:9871",)),
    ],
)
def test_the_address_of_webhdfs_is_that_of_hadoops_settings(url, settings, addresses):
    assert hadoop_settings.namenode_addresses(url, settings) == addresses
