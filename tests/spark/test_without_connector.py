"""Files that Python workers fetch are the same rows as those that Spark reads, refusals included.

"local://" is a URL of fsspec and no path: remote to Hilum, and within reach of every worker.
"""

import gzip
from operator import itemgetter
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.errors import PySparkException

from hilum import storage
from hilum.errors import InvalidValueError
from hilum.spark import read_radiographs, tables
from hilum.spark.images import MAX_PIXELS, radiograph_rows
from hilum.spark.storage_errors import storage_errors
from hilum.spark.without_connector import (
    connector_needed,
    list_with_storage,
    read_with_storage,
)
from image_files import broken_files, dicom, picture, png, write_files

TABLE = """\ufeffImage Index, Finding Labels,OriginalImage[Width,Height],,Image Index
00000001_000.png,"Mass|Edema, mild",2682,2749,,x

\x20\x20
00000001_001.png, ,2682
00000001_002.png,"No ""Finding""\",1,2,3,4,5,6
"""


def rows_of(frame):
    """Rows by name without what the road shows in (path, origin), their times in s, and paths."""
    rows = sorted(
        (row.asDict(recursive=True) for row in frame.collect()), key=itemgetter("file_name")
    )
    times = [row.pop("modification_time").timestamp() for row in rows]
    for row in rows:
        (row["image"] or {}).pop("origin", None)
    return rows, times, [row.pop("path") for row in rows]


def test_rows_are_those_of_spark_with_every_reason(spark, tmp_path):
    broken = {name: content for name, (content, _) in broken_files().items()}
    write_files(tmp_path, broken | {"a.png": png(picture(1)), "none.png": b""})
    write_files(tmp_path / "deep" / "er", {"b.dcm": dicom(picture(2, 64, 64))})
    write_files(tmp_path / "_part", {"c.png": png(picture(3))})
    url = f"local://{tmp_path}"
    fetched = radiograph_rows(list_with_storage(spark, [url]), (32, 32), MAX_PIXELS)
    by_spark = read_radiographs(spark, str(tmp_path), size=(32, 32))
    assert fetched.schema == by_spark.schema
    rows, times, paths = rows_of(fetched)
    expected, spark_times, _ = rows_of(by_spark)
    assert rows == expected
    assert times == pytest.approx(spark_times, abs=2e-3)
    assert [path for path in paths if "/deep/" in path] == [f"{url}/deep/er/b.dcm"]
    found = list_with_storage(spark, [f"{url}/*.png", url], glob="?.png")
    assert [row["path"] for row in found.select("path").collect()] == [f"{url}/a.png"]
    with pytest.raises(InvalidValueError, match="none-such"):
        list_with_storage(spark, [f"{url}/none-such"])


def test_tables_are_those_of_spark(spark, tmp_path):
    table = TABLE.encode() + "M\u00fcller.png,Mass\n".encode("latin-1")  # not in Unicode: no error
    (tmp_path / "t.csv").write_bytes(table)
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(table))
    pq.write_table(pa.table({"file_name": ["a", None], "n": [1, 2]}), tmp_path / "t.parquet")
    (tmp_path / "t.txt").write_text("a.png\nb.png\n")
    options = {"header": True, "escape": '"', "ignoreLeadingWhiteSpace": True}
    for name, format in (("t.csv", "csv"), ("t.csv.gz", "csv"), ("t.parquet", "parquet")):
        fetched = read_with_storage(spark, f"local://{tmp_path}/{name}", format)
        reader = spark.read.format(format).options(**(options if format == "csv" else {}))
        by_spark = reader.load(str(tmp_path / name))
        assert len(fetched.columns) == len(by_spark.columns)
        assert fetched.collect() == by_spark.collect(), name
    lines = read_with_storage(spark, f"local://{tmp_path}/t.txt", "text").collect()
    assert [row["value"] for row in lines] == ["a.png", "b.png"]
    write_files(tmp_path / "hidden", {"_SUCCESS": b"", ".t.csv": b"a\n1\n"})
    for name in ("none", "hidden"):
        with pytest.raises(InvalidValueError, match=name):
            read_with_storage(spark, f"local://{tmp_path}/{name}", "csv")


class LazyReader:
    """The reader of Spark Connect, which finds out in the schema what Spark cannot read."""

    def text(self, path):
        return self

    @property
    def schema(self):
        raise PySparkException("No FileSystem for scheme s3")


def test_lines_are_fetched_where_spark_connect_has_no_connector(monkeypatch):
    monkeypatch.setattr(tables, "read_with_storage", lambda *read: read[1:])
    session = SimpleNamespace(read=LazyReader())
    assert tables.read_lines(session, "s3://bucket/a.txt") == ("s3://bucket/a.txt", "text")
    with pytest.raises(PySparkException, match="No FileSystem"):
        tables.read_lines(session, "gs://bucket/a.txt")


def test_what_only_spark_can_read_is_said_in_a_sentence(spark):
    for url in ("s3://bucket/table", "s3a://bucket/table"):
        with (
            pytest.raises(InvalidValueError, match=r"connector.*hadoop-aws"),
            connector_needed(url),
        ):
            spark.read.parquet(url)


JAVA_SAYS = (
    "An error occurred while calling o59.load.\n: {}\n\tat org.apache.hadoop.fs.X.y(X.java:1)"
)
SPARK_SAYS = JAVA_SAYS.replace("hadoop.fs", "spark.sql")
URL = "s3a://b/x"
TIMED_OUT = (
    "org.apache.spark.SparkException: {}\nCaused by: java.net.SocketTimeoutException: "
    "Timed out while waiting for the Python worker to connect back"
)


@pytest.mark.parametrize(
    ("java", "kind", "words"),
    [
        (
            "org.apache.hadoop.security.AccessControlException: Permission denied: user=a, "
            'access=READ_EXECUTE, inode="/cxr"',
            storage.CredentialsError,
            r"^s3a://b/x: Spark was refused: Permission denied: user=a.*/cxr.*HADOOP_USER_NAME",
        ),
        (
            "java.nio.file.AccessDeniedException: s3a://b/x: getFileStatus on s3a://b/x: 403",
            storage.CredentialsError,
            r"^s3a://b/x: Spark was refused: s3a://b/x.*403.*AWS_SECRET_ACCESS_KEY",
        ),
        (
            "java.net.ConnectException: Call From h to nn:9000 failed on connection exception",
            storage.NotAnsweringError,
            r"^s3a://b/x: Spark has no answer: Call From h to nn:9000 failed.*HADOOP_CONF_DIR",
        ),
        (
            "java.lang.IllegalArgumentException: java.net.UnknownHostException: nowhere",
            storage.NotAnsweringError,
            r"no answer: nowhere\. Hint",
        ),
        (
            "org.apache.hadoop.fs.s3a.UnknownStoreException: `s3a://b/x': getFileStatus on b",
            InvalidValueError,
            r"^s3a://b/x: there is no bucket 'b'\. Hint",
        ),
    ],
)
def test_what_sparks_own_clients_say_is_a_sentence_without_their_trace(java, kind, words):
    first = PySparkException(JAVA_SAYS.format(java))
    with pytest.raises(kind, match=words) as caught, storage_errors("table", URL):
        raise first
    assert "X.java" not in str(caught.value)
    assert caught.value.__cause__ is first


def test_the_url_that_was_refused_is_named_from_spark_connect_too():
    said = (
        "(org.apache.hadoop.security.AccessControlException) Permission denied: hdfs://n/b\n\nJVM"
    )
    words = r"^hdfs://n/b: Spark was refused: Permission denied: hdfs://n/b\. Hint"
    urls = ("hdfs://n/a", "hdfs://n/b")
    with pytest.raises(storage.CredentialsError, match=words), storage_errors(*urls):
        raise PySparkException(said)


@pytest.mark.parametrize(
    ("said", "url"),
    [
        (JAVA_SAYS.format("org.apache.spark.sql.AnalysisException: no"), URL),
        (JAVA_SAYS.format("java.nio.file.AccessDeniedException: /home/me/xrays"), "/home/me/xrays"),
        (JAVA_SAYS.format("java.nio.file.AccessDeniedException: /me/xrays"), "file:/me/xrays"),
        (SPARK_SAYS.format(TIMED_OUT.format("Python worker failed to connect back.")), URL),
        (SPARK_SAYS.format(TIMED_OUT.format("Job aborted due to stage failure")), URL),
        (SPARK_SAYS.format("org.x.SomeException: a\nCaused by: java.net.ConnectException: b"), URL),
        (
            JAVA_SAYS.format(
                "io.netty.channel.AbstractChannel$AnnotatedConnectException: Connection refused: "
                "node2/10.0.0.2:7337\nCaused by: java.net.ConnectException: Connection refused"
            ),
            URL,
        ),
    ],
)
def test_other_errors_of_spark_stay_what_they_are(said, url):
    first = PySparkException(said)
    with pytest.raises(PySparkException) as caught, storage_errors(url):
        raise first
    assert caught.value is first
