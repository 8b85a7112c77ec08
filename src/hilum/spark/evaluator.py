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
from hilum.evaluation import mean_auroc
from hilum.findings import FINDINGS
from hilum.spark.accessors import with_accessors
from hilum.spark.metrics import auroc_counts

__all__ = ["RocAucEvaluator", "label_matrix"]


@with_accessors
class RocAucEvaluator(
    Evaluator,
    HasLabelCol,
    HasPredictionCol,
    DefaultParamsReadable["RocAucEvaluator"],
    DefaultParamsWritable,
):
    """Exact AUC-ROC of array columns, counted in Spark without collecting rows.

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
        names = self.getOrDefault(self.findings)
        counts = auroc_counts(
            dataset,
            names,
            label_col=self.getLabelCol(),
            prediction_col=self.getPredictionCol(),
        )
        return {name: row.auroc for name, row in counts.items()}

    def _evaluate(self, dataset: DataFrame) -> float:
        finding = self.getOrDefault(self.finding)
        names = self.getOrDefault(self.findings)
        require(not finding or finding in names, "finding", f"one of {', '.join(names)}", finding)
        per_finding = self.evaluatePerFinding(dataset)
        return per_finding[finding] if finding else mean_auroc([*per_finding.values()])


def label_matrix(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """An array column (or a number column) as float64 (row, element); null elements are NaN."""
    combined = column.combine_chunks()
    if not pa.types.is_list(combined.type) and not pa.types.is_large_list(combined.type):
        return cast(npt.NDArray[np.float64], combined.cast(pa.float64()).to_numpy(False)[:, None])
    flat = combined.flatten().cast(pa.float64()).to_numpy(zero_copy_only=False)
    return cast(npt.NDArray[np.float64], flat.reshape(len(combined), -1))
