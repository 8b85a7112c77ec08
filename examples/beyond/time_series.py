"""What an ECG does next: 200 ms of lead II from the second before, in all twelve leads.

python examples/beyond/time_series.py

The ECG is the DICOM waveform that pydicom brings: one person, ten seconds. The first seven are
learnt, the last three, with three beats, are forecast. It shows the way, not a clinical result.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
from matplotlib.figure import Figure
from networks import forecaster
from pydicom.data import get_testdata_file
from pyspark.sql import SparkSession
from sklearn.linear_model import Ridge
from study import LEARNING, Findings, run

from hilum.evaluation.figures import BLUE, COLORS, GREY, INK, ORANGE, clean_axes, new_figure
from hilum.spark import NNEstimator

Array = npt.NDArray[np.float64]
STEP_MS, PAST, AHEAD = 20, 50, 10
LEARNT_MS = 7000
LEAD_II = 1
COLUMNS = "began_ms int, past array<array<float>>, next array<float>"


def find(spark: SparkSession, data: Path | None) -> tuple[Findings, dict[str, Array]]:
    """Forecast an ECG, beside the last value and a linear forecast of the same windows."""
    signal_mv = _signal(data or Path(str(get_testdata_file("waveform_ecg.dcm"))))
    began, windows = _windows(signal_mv)
    past, ahead = windows[:, :PAST].transpose(0, 2, 1), windows[:, PAST:, LEAD_II]
    table = spark.createDataFrame(
        [(int(t), p.tolist(), a.tolist()) for t, p, a in zip(began, past, ahead, strict=True)],
        COLUMNS,
    )
    learnt = began + STEP_MS * AHEAD <= LEARNT_MS
    held = began >= LEARNT_MS
    model = NNEstimator(
        model=forecaster,
        featuresCol="past",
        labelCol="next",
        loss="mse",
        maxEpochs=12,
        batchSize=64,
        learningRate=5e-3,
        **LEARNING,
    ).fit(table.filter(table.began_ms <= LEARNT_MS - STEP_MS * AHEAD))
    rows = model.transform(table.filter(table.began_ms >= LEARNT_MS)).orderBy("began_ms").collect()
    flat = past.reshape(len(past), -1)
    linear = Ridge(alpha=100.0).fit(flat[learnt], ahead[learnt])
    forecasts = {
        "network": np.array([row.prediction for row in rows]),
        "linear": linear.predict(flat[held]),
        "last_value": np.repeat(past[held][:, LEAD_II, -1:], AHEAD, axis=1),
    }
    truth, times = ahead[held], began[held]
    beats = [(times >= first) & (times < first + 1000) for first in range(LEARNT_MS, 10_000, 1000)]
    found = {
        "windows_learnt": int(learnt.sum()),
        "windows_forecast": int(held.sum()),
        "rmse_mv": {name: _rmse(values, truth) for name, values in forecasts.items()},
        "rmse_mv_by_second": {
            name: [_rmse(values[beat], truth[beat]) for beat in beats if beat.any()]
            for name, values in forecasts.items()
        },
    }
    return found, {"signal_mv": signal_mv[:, LEAD_II], "times_ms": times, **forecasts}


def _signal(path: Path) -> Array:
    """The twelve leads in mV, (ms, lead), each a mean over 20 ms, which takes out the mains."""
    raw = pydicom.dcmread(path).waveform_array(0) / 1000
    return np.apply_along_axis(np.convolve, 0, raw, np.full(STEP_MS, 1 / STEP_MS), "valid")


def _windows(signal_mv: Array) -> tuple[npt.NDArray[np.int64], Array]:
    """Windows (window, past and ahead, lead) every 5 ms, and when in ms the part ahead begins."""
    places = STEP_MS * np.arange(PAST + AHEAD)
    starts = np.arange(0, len(signal_mv) - places[-1], 5)
    return starts + STEP_MS * PAST, signal_mv[starts[:, None] + places]


def _rmse(forecast: Array, truth: Array) -> float:
    return float(np.sqrt(np.mean((forecast - truth) ** 2)))


def draw(found: Findings, drawn: dict[str, Array]) -> Figure:
    """Forecasts over the three seconds held out; errors by second."""
    figure = new_figure(12, 3.8)
    left, right = figure.subplots(1, 2, width_ratios=(2.4, 1))
    signal_mv = drawn["signal_mv"]
    left.plot(np.arange(LEARNT_MS - 800, len(signal_mv)) / 1000, signal_mv[LEARNT_MS - 800 :],
              color=GREY, linewidth=1, label="lead II")  # fmt: skip
    label: str | None = "forecast of 200 ms"
    for at in range(0, len(drawn["times_ms"]), STEP_MS * AHEAD // 5):
        times = (drawn["times_ms"][at] + STEP_MS * np.arange(AHEAD)) / 1000
        left.plot(times, drawn["network"][at], color=ORANGE, linewidth=1.6, label=label)
        label = None
    left.axvline(LEARNT_MS / 1000, color=INK, linewidth=0.8, linestyle=":")
    left.set_xlabel("Seconds; learnt up to the dotted line", fontsize=9, color=INK)
    left.set_ylabel("mV", fontsize=9, color=INK)
    left.set_ylim(top=1.3 * float(signal_mv.max()))
    left.legend(frameon=False, fontsize=8, loc="upper left")
    colors = {"network": ORANGE, "linear": BLUE, "last_value": COLORS[1]}
    for at, (name, errors) in enumerate(found["rmse_mv_by_second"].items()):
        right.bar(np.arange(len(errors)) + 0.27 * at, errors, width=0.25, color=colors[name],
                  label=f"{name.replace('_', ' ')}: {found['rmse_mv'][name]:.3f}")  # fmt: skip
    right.set_xticks(np.arange(3) + 0.27, ["7 to 8 s", "8 to 9 s", "9 to 10 s"])
    right.set_ylim(0, 1.35 * max(max(e) for e in found["rmse_mv_by_second"].values()))
    right.set_title("Root mean squared error in mV", fontsize=9, color=INK, loc="left")
    right.legend(frameon=False, fontsize=8)
    clean_axes(left)
    clean_axes(right)
    return figure


def main(arguments: Sequence[str] | None = None) -> Findings:
    """Forecast, draw, print."""
    return run("time_series", find, draw, arguments, data="a DICOM ECG (default: pydicom's own)")


if __name__ == "__main__":
    main()
