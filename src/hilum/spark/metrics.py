"""Exact AUCs of a scored DataFrame, counted where the rows are; the driver sees sums only.

The AUC is a count of pairs, and counts add up. Scores are cut into narrow bins; pairs from two bins
need only the bins' totals, pairs within a bin are counted by sorting that bin. So each partition
reduces its rows to distinct scores with their counts, one shuffle brings the pieces of a bin
together, and the driver adds integers. Nothing is sampled or rounded, the input is read once (it
may be a model's `transform`), and ties count half as in `hilum.evaluation.roc_auc_score`.

A bin is a 64th of an octave of the score. Memory of a task is that of one such bin's distinct
scores; it does not grow with rows where scores are rounded.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType

from hilum.errors import require

__all__ = ["AurocCounts", "auroc_counts"]

_Floats = npt.NDArray[np.float64]
_Integers = npt.NDArray[np.int64]

_BIN_SHIFT = 46  # of a double's 64 bits, sign, exponent and 6 of the fraction stay
_VALUES_HELD = 1_000_000  # by a task before it reduces them: 16 MB

# Not bins of scores: what else is counted on the way. Bins lie within 2**17 of 0.
_UNKNOWN, _BAD_SCORE, _BAD_LABEL, _NUM_LABELS, _NUM_SCORES = range(-(2**20), -(2**20) + 5)

_PIECES = pa.schema(
    [
        ("finding", pa.int32()),
        ("bin", pa.int32()),
        ("scores", pa.binary()),
        ("positives", pa.binary()),
        ("negatives", pa.binary()),
    ]
)
_SUMS = pa.schema(
    [
        ("finding", pa.int32()),
        ("bin", pa.int32()),
        ("positives", pa.int64()),
        ("negatives", pa.int64()),
        ("half_pairs", pa.int64()),
    ]
)
_PIECES_DDL = "finding int, bin int, scores binary, positives binary, negatives binary"
_SUMS_DDL = "finding int, bin int, positives long, negatives long, half_pairs long"


@dataclass(frozen=True, slots=True, kw_only=True)
class AurocCounts:
    """One finding of a scored DataFrame.

    Attributes:
        auroc: NaN where the known labels have one value.
        positives: rows with the finding.
        negatives: rows without it.
        unknown: rows with a prediction whose label is not known.
    """

    auroc: float
    positives: int
    negatives: int
    unknown: int


def auroc_counts(
    df: DataFrame,
    findings: Sequence[str],
    *,
    label_col: str = "labels",
    prediction_col: str = "prediction",
) -> dict[str, AurocCounts]:
    """Return the exact AUC and the counts of each finding, without collecting rows.

    Args:
        df: with an array of labels (1, 0, null or NaN for unknown) and one of scores; a number
            column counts as an array of one. Rows where either is null are left out.
        findings: names of the arrays' elements, in order.

    Raises:
        InvalidValueError: no row has both, arrays are not as long as `findings`, a label is not 0,
            1 or unknown, or a score is not finite.
    """
    pairs = df.select(
        *(
            _as_array(df, column).alias(name)
            for column, name in ((label_col, "labels"), (prediction_col, "scores"))
        )
    ).dropna()
    pieces = pairs.mapInArrow(_reduced, _PIECES_DDL)
    # Not groupBy: a call of Python for each of some thousand bins takes longer than the counting.
    together = pieces.repartition("finding", "bin").sortWithinPartitions("finding", "bin")
    sums = together.mapInArrow(_counted, _SUMS_DDL)
    rows = sums.orderBy("finding", "bin").toArrow().to_pylist()
    require(
        len(rows) > 0,
        "the DataFrame to evaluate",
        f"one with rows that have {label_col} and {prediction_col}",
        "none",
    )
    _check(rows, len(findings))
    return {name: _total([r for r in rows if r["finding"] == k]) for k, name in enumerate(findings)}


def _as_array(df: DataFrame, column: str) -> Any:
    is_array = isinstance(df.schema[column].dataType, ArrayType)
    value = F.col(column).cast("array<double>" if is_array else "double")
    # array(null) is no null: a number column's nulls must still drop their row.
    return value if is_array else F.when(value.isNotNull(), F.array(value))


def _reduced(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Rows of a partition as pieces: per finding and bin, distinct scores with their counts."""
    held: list[tuple[_Floats, _Floats]] = []
    size = 0
    for batch in batches:
        if not batch.num_rows:
            continue
        lengths = [np.unique(np.diff(np.asarray(column.offsets))) for column in batch.columns]
        yield from _lengths(lengths)
        if any(found.size > 1 for found in lengths) or lengths[0][0] != lengths[1][0]:
            continue  # the driver refuses the whole table
        labels, scores = (
            column.flatten().to_numpy(zero_copy_only=False).reshape(batch.num_rows, -1)
            for column in batch.columns
        )
        held.append((labels, scores))
        size += labels.size
        if size >= _VALUES_HELD:
            yield _pieces(held)
            held, size = [], 0
    if held:
        yield _pieces(held)


def _lengths(lengths: Sequence[npt.NDArray[Any]]) -> Iterator[pa.RecordBatch]:
    for kind, found in zip((_NUM_LABELS, _NUM_SCORES), lengths, strict=True):
        for length in found.tolist():
            yield _batch([_piece(int(length), kind, np.zeros(1), np.ones(1), np.zeros(1))])


def _pieces(held: Sequence[tuple[_Floats, _Floats]]) -> pa.RecordBatch:
    labels = np.concatenate([part[0] for part in held])
    scores = np.concatenate([part[1] for part in held])
    rows: list[dict[str, Any]] = []
    for k in range(labels.shape[1]):
        rows += _pieces_of(k, labels[:, k], scores[:, k] + 0.0)  # + 0.0 makes -0.0 equal 0.0
    return _batch(rows)


def _pieces_of(finding: int, labels: _Floats, scores: _Floats) -> Iterator[dict[str, Any]]:
    unknown = np.isnan(labels)
    finite = np.isfinite(scores)
    positive, negative = labels == 1, labels == 0
    for kind, where in (
        (_UNKNOWN, unknown & finite),
        (_BAD_SCORE, ~finite),
        (_BAD_LABEL, ~(unknown | positive | negative)),
    ):
        count = np.array([where.sum()])
        if count[0]:
            yield _piece(finding, kind, np.zeros(1), count, np.zeros(1))
    kept = (positive | negative) & finite
    values, positives, negatives = _distinct(scores[kept], positive[kept], negative[kept])
    bins = _bins(values)
    starts = np.flatnonzero(np.diff(bins, prepend=-(2**21)))
    for start, end in pairwise([*starts, len(bins)]):
        part = slice(start, end)
        yield _piece(finding, int(bins[start]), values[part], positives[part], negatives[part])


def _counted(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Sorted pieces of a partition as one row of sums per finding and bin."""
    pieces = (piece for batch in batches for piece in batch.to_pylist())
    sums = [
        _sums(finding, at, list(of_bin))
        for (finding, at), of_bin in groupby(pieces, itemgetter("finding", "bin"))
    ]
    yield pa.RecordBatch.from_pylist(sums, schema=_SUMS)


def _sums(finding: int, at: int, pieces: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    scores, positives, negatives = (
        np.frombuffer(b"".join(piece[name] for piece in pieces), dtype=dtype)
        for name, dtype in (("scores", "f8"), ("positives", "i8"), ("negatives", "i8"))
    )
    _, positives, negatives = _distinct(scores, positives, negatives)
    below = np.cumsum(negatives) - negatives
    return {
        "finding": finding,
        "bin": at,
        "positives": int(positives.sum()),
        "negatives": int(negatives.sum()),
        "half_pairs": int((positives * (2 * below + negatives)).sum()),
    }


def _check(rows: Sequence[Mapping[str, Any]], num_findings: int) -> None:
    for kind, what in ((_NUM_LABELS, "label"), (_NUM_SCORES, "prediction")):
        lengths = sorted({row["finding"] for row in rows if row["bin"] == kind})
        require(
            lengths == [num_findings],
            "findings",
            f"as many names as the {what} arrays have elements ({', '.join(map(str, lengths))})",
            num_findings,
        )
    for kind, parameter, rule in (
        (_BAD_LABEL, "labels", "0, 1, or null (unknown)"),
        (_BAD_SCORE, "predictions", "finite"),
    ):
        count = sum(row["positives"] for row in rows if row["bin"] == kind)
        require(count == 0, parameter, rule, f"{count} others")


def _total(rows: Sequence[Mapping[str, Any]]) -> AurocCounts:
    """Add up the bins of one finding, in rising order; Python's integers have no largest."""
    positives = negatives = half_pairs = 0
    for row in rows:
        if row["bin"] <= _NUM_SCORES:
            continue
        half_pairs += row["half_pairs"] + 2 * row["positives"] * negatives
        positives += row["positives"]
        negatives += row["negatives"]
    pairs = 2 * positives * negatives
    return AurocCounts(
        auroc=half_pairs / pairs if pairs else math.nan,
        positives=positives,
        negatives=negatives,
        unknown=sum(row["positives"] for row in rows if row["bin"] == _UNKNOWN),
    )


def _bins(scores: _Floats) -> _Integers:
    """Narrow intervals of the scores, numbered in rising order, from the bits of the numbers."""
    bits = scores.view(np.int64)
    # The bits of negative numbers rise as the number falls; turned round, all rise.
    rising = np.where(bits < 0, ~bits ^ np.int64(-(2**63)), bits)
    return np.asarray(rising >> _BIN_SHIFT)


def _distinct(
    scores: _Floats, positives: npt.NDArray[Any], negatives: npt.NDArray[Any]
) -> tuple[_Floats, _Integers, _Integers]:
    """Distinct scores, rising, with the sums of their counts."""
    order = np.argsort(scores)
    scores = scores[order]
    starts = np.flatnonzero(np.diff(scores, prepend=-np.inf))
    if not starts.size:
        return scores, np.empty(0, np.int64), np.empty(0, np.int64)
    sums = (
        np.add.reduceat(counts[order].astype(np.int64), starts) for counts in (positives, negatives)
    )
    return scores[starts], next(sums), next(sums)


def _piece(
    finding: int,
    kind: int,
    scores: npt.NDArray[Any],
    positives: npt.NDArray[Any],
    negatives: npt.NDArray[Any],
) -> dict[str, Any]:
    return {
        "finding": finding,
        "bin": kind,
        "scores": scores.astype(np.float64).tobytes(),
        "positives": positives.astype(np.int64).tobytes(),
        "negatives": negatives.astype(np.int64).tobytes(),
    }


def _batch(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(rows, schema=_PIECES)
