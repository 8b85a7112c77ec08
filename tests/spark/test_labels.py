import gzip
import logging
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import Row, SparkSession

from hilum.errors import InvalidValueError
from hilum.findings import FINDINGS, multi_hot
from hilum.spark import findings_of, read_labels

NIH_2017 = """\
Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,\
OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],
00000001_000.png,Cardiomegaly,0,1,058Y,M,PA,2682,2749,0.143,0.143,
00000001_001.png,Cardiomegaly|Emphysema,1,1,058Y,M,PA,2894,2729,0.143,0.143,
00005567_000.png,No Finding,0,5567,412,F,AP,2048,2500,0.171,0.171,
00011973_002.png,Pleural_Thickening|Mass,2,11973,006M,F,AP,2048,2500,0.171,0.171,
00013118_008.png,Hernia,8,13118,011D,M,AP,2048,2500,0.171,0.171,
"""


def write(path: Path, content: str) -> Path:
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(content.encode()))
    else:
        path.write_bytes(content.encode())
    return path


def by_name(spark: SparkSession, path: Path, **options: Any) -> dict[str, Row]:
    rows = read_labels(spark, path, **options).collect()
    return {row["file_name"]: row for row in rows}


@pytest.mark.parametrize("name", ["Data_Entry_2017.csv", "Data_Entry_2017.csv.gz"])
def test_the_nih_table_of_2017_is_read_as_published(
    name: str, spark: SparkSession, tmp_path: Path
) -> None:
    rows = by_name(spark, write(tmp_path / name, NIH_2017))
    assert len(rows) == 5
    first = rows["00000001_001.png"]
    assert first["labels"] == multi_hot(["Cardiomegaly", "Emphysema"])
    assert (first["patient_id"], first["sex"], first["view"]) == ("1", "M", "PA")
    assert (first["age_years"], first["follow_up"]) == (58.0, 1)
    assert rows["00005567_000.png"]["labels"] == [0.0] * 14
    assert rows["00005567_000.png"]["age_years"] is None  # 412 years
    assert rows["00011973_002.png"]["age_years"] == 0.5
    assert rows["00013118_008.png"]["age_years"] == pytest.approx(11 / 365.25)


def test_a_byte_order_mark_windows_line_ends_and_blank_lines_do_no_harm(
    spark: SparkSession, tmp_path: Path
) -> None:
    text = "\ufeff" + NIH_2017.replace("\n", "\r\n") + "\r\n"
    rows = by_name(spark, write(tmp_path / "labels.csv", text))
    assert len(rows) == 5
    assert rows["00000001_000.png"]["labels"] == multi_hot(["Cardiomegaly"])


def test_finding_names_travel_with_the_labels_column(spark: SparkSession, tmp_path: Path) -> None:
    labels = read_labels(spark, write(tmp_path / "labels.csv", NIH_2017))
    assert findings_of(labels) == FINDINGS
    assert labels.schema["labels"].dataType.simpleString() == "array<float>"
    kept = str(tmp_path / "kept.parquet")
    labels.filter("view = 'AP'").write.parquet(kept)
    assert findings_of(spark.read.parquet(kept)) == FINDINGS


def test_lists_may_be_separated_by_bars_semicolons_or_commas_in_any_spelling(
    spark: SparkSession, tmp_path: Path
) -> None:
    path = write(
        tmp_path / "labels.csv",
        "filename,PatientID,Findings\n"
        "a/b/one.dcm,p1,effusion; MASS\n"
        'two.dcm,p2,"pleural thickening, Edema"\n'
        "c\\three.dcm,p3,no finding\n"
        "four.dcm,p4,\n",
    )
    rows = by_name(spark, path)
    assert rows["one.dcm"]["labels"] == multi_hot(["Effusion", "Mass"])
    assert rows["two.dcm"]["labels"] == multi_hot(["Pleural_Thickening", "Edema"])
    assert rows["three.dcm"]["labels"] == [0.0] * 14
    assert rows["four.dcm"]["labels"] == [None] * 14  # a blank says nothing
    assert rows["one.dcm"]["patient_id"] == "p1"
    assert rows["one.dcm"]["sex"] is None


def test_one_column_per_finding_knows_yes_no_and_unknown(
    spark: SparkSession, tmp_path: Path
) -> None:
    path = write(
        tmp_path / "labels.csv",
        "Path,Patient,Sex,Age,Mass,Airspace Opacity,Edema\n"
        "x/1.jpg,7,Female,44,1,0,YES\n"
        "x/2.jpg,8,male,,1.0,-1,no\n"
        "x/3.jpg,9,,200,,false,True\n",
    )
    rows = by_name(spark, path, findings=("Edema", "Mass", "Airspace opacity"))
    assert rows["1.jpg"]["labels"] == [1.0, 1.0, 0.0]
    assert rows["2.jpg"]["labels"] == [0.0, 1.0, None]
    assert rows["3.jpg"]["labels"] == [1.0, None, 0.0]
    assert [rows[f"{i}.jpg"]["sex"] for i in (1, 2, 3)] == ["F", "M", None]
    assert [rows[f"{i}.jpg"]["age_years"] for i in (1, 2, 3)] == [44.0, None, None]


def test_findings_without_a_column_are_unknown_and_said(
    spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "labels.csv", "image,patient,Mass\n1.png,a,1\n")
    with caplog.at_level(logging.WARNING, "hilum"):
        rows = by_name(spark, path, findings=("Mass", "Nodule"))
    assert rows["1.png"]["labels"] == [1.0, None]
    assert "Nodule" in caplog.text


def test_parquet_with_arrays_booleans_and_numbers_is_read_like_csv(
    spark: SparkSession, tmp_path: Path
) -> None:
    lists = tmp_path / "lists.parquet"
    pq.write_table(
        pa.table(
            {
                "file_name": ["1.png", "2.png", "3.png"],
                "patient_id": [1.0, 2.0, None],
                "findings": [["Mass", "Edema"], [], None],
                "age": [61.5, None, 70.0],
            }
        ),
        lists,
    )
    rows = by_name(spark, lists)
    assert rows["1.png"]["labels"] == multi_hot(["Mass", "Edema"])
    assert rows["2.png"]["labels"] == [0.0] * 14
    assert rows["3.png"]["labels"] == [None] * 14
    assert [rows[f"{i}.png"]["patient_id"] for i in (1, 2, 3)] == ["1", "2", None]
    assert rows["1.png"]["age_years"] == 61.5
    flags = tmp_path / "flags"
    flags.mkdir()
    pq.write_table(
        pa.table(
            {
                "image": ["1.png", "2.png"],
                "patient": [1, 2],
                "mass": [True, None],
                "edema": pa.array([1, -1], pa.int8()),
                "hernia": [0.0, float("nan")],
            }
        ),
        flags / "part.parquet",
    )
    rows = by_name(spark, flags, findings=("Mass", "Edema", "Hernia"), format="parquet")
    assert rows["1.png"]["labels"] == [1.0, 1.0, 0.0]
    assert rows["2.png"]["labels"] == [None, None, None]


def test_patients_come_from_nih_names_only_if_all_names_are_nih(
    spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    nih = write(tmp_path / "nih.csv", "image,labels\n00000042_007.png,Mass\n00012345_000.png,\n")
    with caplog.at_level(logging.WARNING, "hilum"):
        rows = by_name(spark, nih)
    assert rows["00000042_007.png"]["patient_id"] == "42"
    assert "patient_id is taken from NIH file names" in caplog.text
    other = write(tmp_path / "other.csv", "image,labels\n00000042_007.png,Mass\nb.png,Mass\n")
    with pytest.raises(InvalidValueError, match=r"patient_id.*Hint"):
        read_labels(spark, other)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("image,patient,labels\na.png,1,Pnuemonia\n", r"'pnuemonia'\. Hint: known are Atelectasis"),
        ("image,patient,Mass\na.png,1,2\nb.png,1,maybe\n", "'Mass=2', 'Mass=maybe'"),
        ("image,patient,labels\nx/a.png,1,Mass\ny/a.png,2,Mass\n", r"a\.png \(2 times\)"),
        ("image,patient,labels\n,1,Mass\n", "file name in every row"),
        ("image,patient,labels\n", "at least one row"),
        ("name,patient,labels\na.png,1,Mass\n", r"file names.*Got columns: name, patient, labels"),
        ("image,patient,diagnosis\na.png,1,Mass\n", "one column per finding"),
    ],
)
def test_what_is_wrong_with_a_table_is_said_before_anything_runs(
    content: str, message: str, spark: SparkSession, tmp_path: Path
) -> None:
    with pytest.raises(InvalidValueError, match=message):
        read_labels(spark, write(tmp_path / "labels.csv", content))


def test_a_missing_file_and_an_unnamed_format_are_said(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match="where there is none"):
        read_labels(spark, tmp_path / "nowhere.csv")
    with pytest.raises(InvalidValueError, match="format='csv'"):
        read_labels(spark, tmp_path / "labels.xlsx")
    with pytest.raises(InvalidValueError, match="different names"):
        read_labels(spark, tmp_path / "labels.csv", findings=("Mass", "mass"))


def test_the_real_nih_table_has_its_112120_rows(spark: SparkSession, real_data: Path) -> None:
    labels = read_labels(spark, real_data / "nih-labels" / "Data_Entry_2017_v2020.csv.gz")
    assert labels.count() == 112_120
    assert labels.select("patient_id").distinct().count() == 30_805
    first = labels.filter("file_name = '00000001_002.png'").collect()[0]
    assert first["labels"] == multi_hot(["Cardiomegaly", "Effusion"])


def test_radiologists_labels_of_other_findings_are_read_from_their_columns(
    spark: SparkSession, real_data: Path
) -> None:
    names = ("Fracture", "Pneumothorax", "Airspace opacity", "Nodule or mass")
    path = real_data / "nih-labels" / "google2019_nih-chest-xray-labels.csv.gz"
    rows = by_name(spark, path, findings=names)
    assert len(rows) == 4_376
    assert rows["00000013_026.png"]["labels"] == [0.0, 1.0, 0.0, 0.0]


def test_of_a_list_with_other_nih_findings_only_the_wanted_are_read(spark, tmp_path):
    rows = "a.png,Mass|Nodule,1\nb.png,Hernia,2\nc.png,No Finding,2\n"
    path = write(tmp_path / "labels.csv", "Image Index,Finding Labels,Patient ID\n" + rows)
    found = read_labels(spark, path, findings=("Nodule", "Mass")).orderBy("file_name").collect()
    assert [row["labels"] for row in found] == [[1, 1], [0, 0], [0, 0]]
    wrong = write(tmp_path / "wrong.csv", "Image Index,Finding Labels,Patient ID\na.png,Moss,1\n")
    with pytest.raises(InvalidValueError, match="moss"):
        read_labels(spark, wrong, findings=("Nodule", "Mass"))
