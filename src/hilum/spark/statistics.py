"""How often each finding occurs: Table 1 and Figure 1 of the 2019 paper, from the true data.

The paper's own table has Effusion at 2,516 images, a copy of its Emphysema row; NIH's labels have
13,317. So the table is computed, from the same DataFrame that is trained on.
"""

from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from hilum.errors import require
from hilum.findings import NO_FINDING
from hilum.spark.labels import findings_of
from hilum.spark.tables import text

__all__ = ["FindingCount", "FindingTable", "ViewCount", "finding_counts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingCount:
    """One row of the table.

    Attributes:
        finding: name, or "No Finding" for images where every finding is known to be absent.
        positives: images with the finding.
        images: images of which it is known whether they have it.
        alone: images with this finding and no other.
        patients: patients with at least one such image.
    """

    finding: str
    positives: int
    images: int
    alone: int
    patients: int

    @property
    def prevalence(self) -> float:
        """Share of the images where it is known; NaN where that is none."""
        return self.positives / self.images if self.images else float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewCount:
    """Images and patients of one view position; `view` is None where it is not known."""

    view: str | None
    images: int
    patients: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingTable:
    """Counts of a labelled data set; `print` shows them as a table.

    Attributes:
        images: rows.
        patients: different patients.
        findings: one entry per finding in label order, then "No Finding".
        views: by number of images, the most frequent first.
    """

    images: int
    patients: int
    findings: tuple[FindingCount, ...]
    views: tuple[ViewCount, ...]

    def __str__(self) -> str:
        width = max(len(row.finding) for row in self.findings)
        lines = [
            f"{'finding':<{width}}  {'images':>8}  {'share':>7}  {'alone':>8}  {'patients':>8}"
        ]
        lines += [
            f"{row.finding:<{width}}  {row.positives:>8,}  {row.prevalence:>7.2%}  "
            f"{row.alone:>8,}  {row.patients:>8,}"
            for row in self.findings
        ]
        lines.append(f"{self.images:,} images of {self.patients:,} patients")
        lines += [
            f"view {row.view or 'unknown'}: {row.images:,} images of {row.patients:,} patients"
            for row in self.views
        ]
        return "\n".join(lines)


def finding_counts(df: DataFrame) -> FindingTable:
    """Count findings, patients and views in a DataFrame with labels, patient_id and view.

    Unknown labels are in no count and no denominator. An image counts for "No Finding" only if all
    its labels are known to be 0.

    Raises:
        InvalidValueError: a column is missing, or a labels array is not as long as its findings.
    """
    for name in ("labels", "patient_id", "view"):
        require(name in df.columns, "df", f"a DataFrame with the column {name}", df.columns)
    findings = findings_of(df)
    size = len(findings)
    patterns = {
        tuple(row["labels"] or ()): row["count"] for row in df.groupBy("labels").count().collect()
    }
    require(len(patterns) > 0, "df", "a DataFrame with at least one row", 0)
    for labels in patterns:
        require(len(labels) == size, "labels", f"arrays of {size} findings", list(labels))
    patients = _patients(df, size)
    rows = [
        FindingCount(
            finding=name,
            positives=sum(n for labels, n in patterns.items() if labels[i] == 1),
            images=sum(n for labels, n in patterns.items() if labels[i] is not None),
            alone=sum(n for labels, n in patterns.items() if labels[i] == 1 == _positives(labels)),
            patients=patients.get(i, 0),
        )
        for i, name in enumerate(findings)
    ]
    healthy = patterns.get((0.0,) * size, 0)
    known = sum(n for labels, n in patterns.items() if None not in labels)
    none = FindingCount(
        finding=NO_FINDING,
        positives=healthy,
        images=known,
        alone=healthy,
        patients=patients.get(size, 0),
    )
    return FindingTable(
        images=sum(patterns.values()),
        patients=patients.get(size + 1, 0),
        findings=(*rows, none),
        views=_views(df),
    )


def _positives(labels: tuple[float | None, ...]) -> int:
    return sum(label == 1 for label in labels)


def _patients(df: DataFrame, size: int) -> dict[int, int]:
    """Patients by position of the finding; `size` is "No Finding" and `size + 1` everybody."""
    zeros = F.array(*(F.lit(0.0).cast("float") for _ in range(size)))
    no_finding = F.when(F.col("labels") == zeros, F.lit(1.0))
    everybody = F.lit(1.0)
    rows = df.select(
        text(F.col("patient_id")).alias("patient"),
        F.posexplode(F.concat("labels", F.array(no_finding, everybody).cast("array<float>"))),
    )
    counted = rows.filter("col = 1").groupBy("pos").agg(F.count_distinct("patient").alias("n"))
    return {row["pos"]: row["n"] for row in counted.collect()}


def _views(df: DataFrame) -> tuple[ViewCount, ...]:
    rows = (
        df.groupBy("view")
        .agg(F.count(F.lit(1)).alias("images"), F.count_distinct("patient_id").alias("patients"))
        .orderBy(F.desc("images"), "view")
        .collect()
    )
    return tuple(
        ViewCount(view=row["view"], images=row["images"], patients=row["patients"]) for row in rows
    )
