"""RocAucEvaluator: exact AUC-ROC as a Spark ML evaluator, for CrossValidator and by hand."""

from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark import keyword_only
from pyspark.ml.evaluation import Evaluator
from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.param.shared import HasLabelCol, HasPredictionCol
from pyspark.ml.util import DefaultParamsReadable, DefaultParamsWritable
from pyspark.sql import DataFrame

from hilum.errors import require
from hilum.evaluation import mean_auroc, roc_auc_score
from hilum.findings import FINDINGS

__all__ = ["RocAucEvaluator", "label_matrix"]


class RocAucEvaluator(
    Evaluator,
    HasLabelCol,
    HasPredictionCol,
    DefaultParamsReadable["RocAucEvaluator"],
    DefaultParamsWritable,
):
    """Exact AUC-ROC of array columns.

    Rows without labels or prediction and unknown labels are left out.
    `finding` names one finding to report; empty reports the mean over the defined ones.
    """

    finding: Param[str] = Param(
        Params._dummy(),
        "finding",
        "finding whose AUC is reported; empty: mean over the defined ones",
        typeConverter=TypeConverters.toString,
    )
    findings: Param[list[str]] = Param(
        Params._dummy(),
        "findings",
        "names of the arrays' elements, in order",
        typeConverter=TypeConverters.toListString,
    )

    @keyword_only
    def __init__(
        self,
        *,
        labelCol: str = "labels",
        predictionCol: str = "prediction",
        finding: str = "",
        findings: list[str] | None = None,
    ) -> None:
        super().__init__()
        self._setDefault(
            labelCol="labels", predictionCol="prediction", finding="", findings=list(FINDINGS)
        )
        given: dict[str, Any] = cast(Any, self)._input_kwargs
        self._set(**{name: value for name, value in given.items() if value is not None})

    def isLargerBetter(self) -> bool:
        """AUC is better when larger."""
        return True

    def evaluatePerFinding(self, dataset: DataFrame) -> dict[str, float]:
        """AUC by finding name; NaN where undefined (only one label value)."""
        labels, scores = self._matrices(dataset)
        names = self.getOrDefault(self.findings)
        require(
            labels.shape[1] == len(names),
            "findings",
            f"as many names as the label arrays have elements ({labels.shape[1]})",
            len(names),
        )
        return dict(zip(names, roc_auc_score(labels, scores).tolist(), strict=True))

    def _evaluate(self, dataset: DataFrame) -> float:
        finding = self.getOrDefault(self.finding)
        if not finding:
            return float(mean_auroc(roc_auc_score(*self._matrices(dataset))))
        per_finding = self.evaluatePerFinding(dataset)
        require(finding in per_finding, "finding", f"one of {', '.join(per_finding)}", finding)
        return per_finding[finding]

    def _matrices(
        self, dataset: DataFrame
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        label, prediction = self.getLabelCol(), self.getPredictionCol()
        table = dataset.select(label, prediction).dropna().toArrow()
        require(
            table.num_rows > 0,
            "the DataFrame to evaluate",
            f"one with rows that have {label} and {prediction}",
            "none",
        )
        return label_matrix(table.column(0)), label_matrix(table.column(1))


def label_matrix(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """An array column (or a number column) as float64 (row, element); null elements are NaN."""
    combined = column.combine_chunks()
    if not pa.types.is_list(combined.type) and not pa.types.is_large_list(combined.type):
        return cast(npt.NDArray[np.float64], combined.cast(pa.float64()).to_numpy(False)[:, None])
    flat = combined.flatten().cast(pa.float64()).to_numpy(zero_copy_only=False)
    return cast(npt.NDArray[np.float64], flat.reshape(len(combined), -1))
