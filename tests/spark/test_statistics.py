import math
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession

from hilum.errors import InvalidValueError
from hilum.spark import FindingCount, ViewCount, finding_counts, read_labels

ROWS = [
    ("1", "PA", [1.0, 1.0, 0.0]),
    ("1", "PA", [1.0, 0.0, 0.0]),
    ("2", "AP", [0.0, 0.0, 0.0]),
    ("2", "AP", [0.0, None, 0.0]),
    (None, None, [0.0, None, 0.0]),
]


def labelled(spark: SparkSession, rows: list[tuple[str | None, str | None, object]]) -> DataFrame:
    data = spark.createDataFrame(rows, "patient_id string, view string, labels array<float>")
    return data.withMetadata("labels", {"findings": ["Mass", "Edema", "Hernia"]})


def test_unknown_labels_are_in_no_count_and_no_denominator(spark: SparkSession) -> None:
    table = finding_counts(labelled(spark, list(ROWS)))
    assert (table.images, table.patients) == (5, 2)
    mass, edema, hernia, none = table.findings
    assert mass == FindingCount(finding="Mass", positives=2, images=5, alone=1, patients=1)
    assert edema == FindingCount(finding="Edema", positives=1, images=3, alone=0, patients=1)
    assert edema.prevalence == pytest.approx(1 / 3)
    assert hernia.prevalence == 0.0
    assert none == FindingCount(finding="No Finding", positives=1, images=3, alone=1, patients=1)
    assert table.views == (
        ViewCount(view="AP", images=2, patients=1),
        ViewCount(view="PA", images=2, patients=1),
        ViewCount(view=None, images=1, patients=0),
    )


def test_a_finding_that_is_never_known_has_no_prevalence(spark: SparkSession) -> None:
    table = finding_counts(labelled(spark, [("1", "PA", [None, 0.0, 0.0])]))
    assert math.isnan(table.findings[0].prevalence)


def test_the_table_prints_as_a_table(spark: SparkSession) -> None:
    lines = str(finding_counts(labelled(spark, list(ROWS)))).splitlines()
    assert lines[0].split() == ["finding", "images", "share", "alone", "patients"]
    assert lines[1].split() == ["Mass", "2", "40.00%", "1", "1"]
    assert lines[-1] == "view unknown: 1 images of 0 patients"


@pytest.mark.parametrize("labels", [[0.0], [0.0] * 4, None])
def test_arrays_of_another_length_than_the_findings_are_refused(
    labels: object, spark: SparkSession
) -> None:
    with pytest.raises(InvalidValueError, match="arrays of 3 findings"):
        finding_counts(labelled(spark, [("1", "PA", [0.0] * 3), ("1", "PA", labels)]))


def test_the_true_numbers_of_nih_are_found(spark: SparkSession, real_data: Path) -> None:
    """The paper's Table 1 says Effusion 2,516, which is its Emphysema row."""
    path = real_data / "nih-labels" / "Data_Entry_2017_v2020.csv.gz"
    table = finding_counts(read_labels(spark, path))
    images = {row.finding: (row.positives, row.alone) for row in table.findings}
    assert images == {
        "Atelectasis": (11_559, 4_215),
        "Cardiomegaly": (2_776, 1_093),
        "Effusion": (13_317, 3_955),
        "Infiltration": (19_894, 9_547),
        "Mass": (5_782, 2_139),
        "Nodule": (6_331, 2_705),
        "Pneumonia": (1_431, 322),
        "Pneumothorax": (5_302, 2_194),
        "Consolidation": (4_667, 1_310),
        "Edema": (2_303, 628),
        "Emphysema": (2_516, 892),
        "Fibrosis": (1_686, 727),
        "Pleural_Thickening": (3_385, 1_126),
        "Hernia": (227, 110),
        "No Finding": (60_361, 60_361),
    }
    assert (table.images, table.patients) == (112_120, 30_805)
    assert {row.view: row.images for row in table.views} == {"PA": 67_310, "AP": 44_810}
    assert table.findings[2].prevalence == pytest.approx(0.1188, abs=5e-5)
