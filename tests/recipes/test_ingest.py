"""Ingest: one pass, a table, and counts that add up."""

from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest

from hilum import storage
from hilum.errors import InvalidValueError, RejectedImageError
from hilum.recipes.ingest import ingest
from hilum.spark.image_struct import grey_pixels
from image_files import broken_files, picture, png, write_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    good = {f"{i}.png": png(picture(i)) for i in range(4)}
    bad = {f"bad/{name}": content for name, (content, _) in broken_files().items()}
    return write_files(tmp_path / "images", good | bad)


BROKEN = broken_files()
REASONS = dict(Counter(reason for _, reason in BROKEN.values()))


def test_every_file_is_counted_and_kept_with_its_reason(spark, folder, tmp_path):
    report = ingest(spark, str(folder), str(tmp_path / "table"))
    assert (report.files, report.ok, report.rejected) == (4 + len(BROKEN), 4, len(BROKEN))
    assert report.reasons == REASONS
    rows = spark.read.parquet(str(tmp_path / "table")).collect()
    assert len(rows) == 4 + len(BROKEN)
    for row in rows:
        if row["status"] == "ok":
            pixels = grey_pixels(row["image"].asDict())
            assert (pixels == picture(int(row["file_name"][0]))).all()


def test_dropmalformed_keeps_the_good_rows_and_still_counts_all(spark, folder, tmp_path):
    report = ingest(spark, str(folder), str(tmp_path / "table"), mode="dropmalformed")
    assert (report.files, report.ok, report.reasons) == (4 + len(BROKEN), 4, REASONS)
    assert spark.read.parquet(str(tmp_path / "table")).count() == 4


def test_failfast_names_the_file_and_leaves_no_table(spark, folder, tmp_path):
    with pytest.raises(RejectedImageError, match=r"file:.*/bad/") as caught:
        ingest(spark, str(folder), str(tmp_path / "table"), mode="failfast")
    assert caught.value.reason in REASONS
    assert not (tmp_path / "table").exists()


def test_size_and_glob_reach_the_reader(spark, folder, tmp_path):
    report = ingest(spark, str(folder), str(tmp_path / "table"), size=(8, 6), glob="[01].png")
    assert (report.files, report.ok) == (2, 2)
    table = spark.read.parquet(str(tmp_path / "table"))
    sizes = {(row["height"], row["width"]) for row in table.select("image.*").collect()}
    assert sizes == {(8, 6)}


def test_a_table_is_never_overwritten(spark, folder, tmp_path):
    (tmp_path / "table").mkdir()
    (tmp_path / "table" / "precious").write_text("data")
    with pytest.raises(InvalidValueError, match="--out"):
        ingest(spark, str(folder), str(tmp_path / "table"))
    assert (tmp_path / "table" / "precious").exists()


def test_an_unknown_mode_is_refused(spark, folder, tmp_path):
    with pytest.raises(InvalidValueError, match="lenient"):
        ingest(spark, str(folder), str(tmp_path / "table"), mode="lenient")
    assert not (tmp_path / "table").exists()


@pytest.mark.parametrize(
    ("error", "asked"),
    [(storage.NotAnsweringError("silent"), 0), (storage.CredentialsError("no keys"), 1)],
)
def test_the_first_failure_is_said_where_nothing_can_be_deleted(
    spark, folder, tmp_path, monkeypatch, error, asked
):
    deleted = []

    def refuse(url):
        deleted.append(url)
        raise PermissionError(f"{url}: another error")

    @contextmanager
    def failing(url):
        raise error
        yield

    monkeypatch.setattr("hilum.recipes.ingest.connector_needed", failing)
    monkeypatch.setattr(storage, "delete_tree", refuse)
    with pytest.raises(type(error), match=str(error)):
        ingest(spark, str(folder), str(tmp_path / "table"))
    assert len(deleted) == asked
