"""The storage battery against real servers: HDFS with name node and data node, and S3.

What fails in the middle fails for both: the old file or an error, never half of a file.
"""

import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest
from pyspark.ml import PipelineModel

import any_models
from cut_connection import CuttingProxy
from hadoop import HadoopMissingError, Hdfs, hadoop_jars
from hilum import storage
from hilum.errors import InvalidValueError
from hilum.inference import load_bundle, save_bundle
from hilum.models import factory
from hilum.spark import NNEstimator, NNModel
from hilum.spark.preflight import require_writable
from hilum.storage import hadoop_settings
from hilum.storage.locating import locate
from hilum.storage.s3 import S3
from s3_server import s3_server
from tiny_models import tiny_bundle


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


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    with s3_server(tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.fixture
def keys(s3, monkeypatch):
    for name, value in s3.variables.items():
        monkeypatch.setenv(name, value)
    return s3


@pytest.fixture(params=["hdfs", "s3"])
def root(request):
    server = request.getfixturevalue("conf" if request.param == "hdfs" else "keys")
    return server.url(uuid.uuid4().hex)


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


def test_files_are_found_in_folders_and_by_globs_with_size_and_time(root):
    names = ["a/1.png", "a/2.dcm", "b/3.png", "b/.hidden.png", "b/_part/4.png"]
    for number, name in enumerate(names):
        storage.write_bytes(storage.join(root, name), bytes(number + 1))
    found = storage.list_files(root)
    assert [one.url for one in found] == [storage.join(root, name) for name in names[:3]]
    assert [one.size for one in found] == [1, 2, 3]
    assert all(abs(one.modified_s - time.time()) < 60 for one in found)
    assert storage.list_files(root, recursive=False) == []
    assert storage.list_files(root, glob="*.png") == [found[0], found[2]]
    assert storage.list_files(storage.join(root, "*", "?.png")) == [found[0], found[2]]
    assert storage.list_files([one.url for one in found] * 2) == found
    given = storage.join(root, names[3])
    assert [one.url for one in storage.list_files(given)] == [given], "given by its name"
    with pytest.raises(FileNotFoundError, match="none"):
        storage.list_files(storage.join(root, "none"))


@pytest.mark.parametrize("name", ["with space?.txt", "Größe-胸部.json", "a+b=c&d%20.png"])
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
    assert len(seen) > 3, "read while it was written"
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


def test_a_bundle_on_a_full_hdfs_is_no_bundle(conf):
    bundle = tiny_bundle()
    save_bundle(bundle, conf.url("bundles", "whole"))
    assert load_bundle(conf.url("bundles", "whole")).digest
    storage.make_directory(conf.url("bundles", "full"))
    conf.dfsadmin("-setSpaceQuota", "512k", "/bundles/full")
    with pytest.raises(OSError, match=r"[Qq]uota"):
        save_bundle(bundle, conf.url("bundles", "full"))
    with pytest.raises(InvalidValueError, match=r"manifest\.json"):
        load_bundle(conf.url("bundles", "full"))
    with pytest.raises(InvalidValueError, match=r"--out must be .*[Qq]uota"):
        require_writable(conf.url("bundles", "full"), "--out")


def test_stages_and_pipelines_are_saved_on_hdfs_and_read_back(spark, conf):
    """Metadata through Spark's client, the rest over WebHDFS, both in one folder."""
    bundle, url = tiny_bundle(), conf.url("stages", "first pipeline")
    trained = PipelineModel([NNModel(bundle).setPredictionCol("score")])
    trained.save(url)
    trained.write().overwrite().save(url)
    (model,) = PipelineModel.load(url).stages
    assert (model.bundle.digest, model.getPredictionCol()) == (bundle.digest, "score")
    (folder,) = storage.list_names(storage.join(url, "stages"))
    saved = storage.join(url, "stages", folder)
    assert set(storage.list_names(saved)) == {"metadata", "bundle", "history.json"}
    storage.delete_tree(storage.join(saved, "bundle"))
    with pytest.raises(InvalidValueError, match=r"saved to its end.*no bundle"):
        NNModel.load(saved)
    estimator = conf.url("stages", "estimator")
    NNEstimator(model=factory(any_models.small_net, width=2), maxEpochs=3).save(estimator)
    loaded = NNEstimator.load(estimator)
    assert loaded.getModel() == factory(any_models.small_net, width=2)
    assert loaded.getMaxEpochs() == 3


def test_a_stage_on_s3_asks_for_sparks_connector(spark, keys):
    model = NNModel(tiny_bundle())
    for ask in (model.save, model.write().overwrite().save, NNModel.load):
        with pytest.raises(InvalidValueError, match=r"connector for s3a://hilum/m.*hadoop-aws"):
            ask("s3a://hilum/m")


def test_a_write_to_s3_that_breaks_off_is_repeated_or_leaves_the_old_file(keys, monkeypatch):
    url, data = keys.url("cut", "file"), bytes(2**21)
    storage.write_bytes(url, b"old")
    with CuttingProxy(urlsplit(keys.address).port) as way:
        monkeypatch.setenv("AWS_ENDPOINT_URL", way.address)
        way.cut_after(2**20, times=1)
        storage.write_bytes(url, data)
        assert way.cut == 1
        assert storage.sha256_of(storage.read_bytes(url)) == storage.sha256_of(data)
        storage.write_bytes(url, b"old")
        way.cut_after(2**20)
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        monkeypatch.setattr(S3, "retries", 1)
        with pytest.raises(OSError, match=r"s3://hilum/cut/file.*AWS_ENDPOINT_URL"):
            storage.write_bytes(url, data)
        assert storage.read_bytes(url) == b"old"
        with pytest.raises(OSError, match="weights"):
            save_bundle(tiny_bundle(), keys.url("cut", "bundle"))
        with pytest.raises(InvalidValueError, match=r"manifest\.json"):
            load_bundle(keys.url("cut", "bundle"))


def test_a_read_from_s3_that_breaks_off_is_repeated_or_an_error_of_its_file(
    keys, monkeypatch, tmp_path
):
    url, data = keys.url("cut", "read"), bytes(2**21)

    def copy(one):
        return storage.copy_to_disk(one, tmp_path / "copy")

    storage.write_bytes(url, data)
    with CuttingProxy(urlsplit(keys.address).port) as way:
        monkeypatch.setenv("AWS_ENDPOINT_URL", way.address)
        way.cut_after(2**20, times=1)
        assert len(storage.read_bytes(url)) == len(data)
        assert way.cut == 1
        way.cut_after(2**20, times=1)
        assert copy(url) == storage.sha256_of(data)
        assert way.cut == 2
        (tmp_path / "copy").unlink()
        way.cut_after(2**20)
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        monkeypatch.setattr(S3, "retries", 1)
        for read in (storage.read_bytes, copy, lambda one: storage.read_range(one, 0, 2**21)):
            with pytest.raises(OSError, match=r"s3://hilum/cut/read.*AWS_ENDPOINT_URL"):
                read(url)
        assert list(tmp_path.iterdir()) == []


def test_keys_that_s3_does_not_take_are_said_with_the_way_out(keys, monkeypatch):
    def checks(after):  # requests that moto lets pass before it looks at keys
        url, kind = f"{keys.address}/moto-api/reset-auth", {"Content-Type": "text/plain"}
        urlopen(Request(url, after, kind, method="POST"), timeout=10).close()

    checks(b"0")
    try:
        with pytest.raises(storage.CredentialsError, match=r"s3://hilum/x.*AWS_ACCESS_KEY_ID"):
            storage.write_bytes(keys.url("x"), b"x")
        with pytest.raises(InvalidValueError, match=r"--out must be .*AWS_ACCESS_KEY_ID"):
            require_writable(keys.url("run"), "--out")
    finally:
        checks(b"inf")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "none")
    with pytest.raises(storage.CredentialsError, match="credentials"):
        storage.exists(keys.url("x"))


def test_one_client_of_s3_serves_all_threads(keys):
    url = keys.url("threads", "file")
    storage.write_bytes(url, b"x")
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(storage.read_bytes, [url] * 16)) == [b"x"] * 16
        assert len({id(found[0]) for found in threads.map(locate, [url] * 16)}) == 1


def test_a_bucket_that_is_not_there_is_not_made(keys):
    with pytest.raises(InvalidValueError, match=r"no bucket 'absent'"):
        require_writable("s3://absent/run", "--out")
    storage.make_directory("s3://absent/run")
    assert not storage.exists("s3://absent")


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


def test_nobody_at_the_address_is_an_error_that_names_it(monkeypatch, caplog):
    monkeypatch.setattr("hilum.storage.webhdfs.RETRY_S", 0.3)
    monkeypatch.setenv(hadoop_settings.OVERRIDE, "http://127.0.0.1:1")
    with pytest.raises(OSError, match=r"127\.0\.0\.1:1.*HILUM_WEBHDFS"):
        storage.exists("hdfs://nowhere/file")
    caplog.clear()
    with pytest.raises(InvalidValueError, match=r"--out must be .*HILUM_WEBHDFS"):
        require_writable("hdfs://nowhere/run", "--out")
    asked = [record.args[0] for record in caplog.records if "retry" in record.msg]
    assert set(asked) == {"CREATE"}, "waited for once, not to delete what could not be written too"


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
