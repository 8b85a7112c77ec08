"""Sequence to sequence: dates as people write them into dates as DICOM wants them.

    python examples/beyond/sequences.py

"Nov 27, 2026", "27.11.2026" and "27-NOV-26" become 20261127, DICOM's DA (PS3.5, table 6.2-1). The
texts are made here, in six forms; days that are asked for are never among those learnt.
"""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from networks import translator
from pyspark.sql import SparkSession
from study import LEARNING, Findings, run, wilson_interval

from hilum.evaluation.figures import BLUE, GREY, INK, ORANGE, PALE, clean_axes, new_figure
from hilum.spark import NNEstimator

LETTERS, PLACES = 20, 8
LEARNT, ASKED = 2500, 600
FIRST, LAST = date(1930, 1, 1).toordinal(), date(2029, 12, 31).toordinal()
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip


def forms(day: date) -> dict[str, str]:
    """A day in six forms, each named by an example."""
    month = MONTHS[day.month - 1]
    return {
        "27 November 2026": f"{day.day} {month} {day.year}",
        "Nov 27, 2026": f"{month[:3]} {day.day}, {day.year}",
        "27.11.2026": f"{day:%d.%m.%Y}",
        "11/27/2026": f"{day.month}/{day.day}/{day.year}",
        "2026-11-27": f"{day:%Y-%m-%d}",
        # Two digits mean 1930 to 2029.
        "27-NOV-26": f"{day.day:02d}-{month[:3].upper()}-{day.year % 100:02d}",
    }


def find(spark: SparkSession, data: Path | None) -> tuple[Findings, None]:
    """Learn to rewrite dates; count right digits and right dates among days never seen."""
    random = np.random.default_rng(0)
    days = random.choice(np.arange(FIRST, LAST + 1), LEARNT + ASKED, replace=False)
    rows = [_row(date.fromordinal(int(day)), random) for day in days]
    table = spark.createDataFrame(
        [(at, *row) for at, row in enumerate(rows)],
        "id int, form string, text string, letters array<int>, digits array<int>",
    )
    model = NNEstimator(
        model=translator,
        featuresCol="letters",
        labelCol="digits",
        loss="cross_entropy",
        maxEpochs=4,
        batchSize=32,
        learningRate=4e-3,
        **LEARNING,
    ).fit(table.filter(table.id < LEARNT))
    scored = model.transform(table.filter(table.id >= LEARNT)).orderBy("id").collect()
    truth = np.array([row.digits for row in scored])
    written = np.array([row.prediction for row in scored]).argmax(axis=1)
    copied = np.array([_copied(row.text) for row in scored])
    common = [np.bincount(d).argmax() for d in np.array([row[3] for row in rows[:LEARNT]]).T]
    right = (written == truth).all(axis=1)
    as_copied = (copied == truth).all(axis=1)
    by_form = {name: np.array([row.form == name for row in scored]) for name in forms(date.today())}
    found = {
        "dates_learnt": LEARNT,
        "dates_asked": ASKED,
        "right_digits": {
            "network": float((written == truth).mean()),
            "digits_copied_in_order": float((copied == truth).mean()),
            "commonest_digit_of_each_place": float((truth == common).mean()),
        },
        "right_dates": float(right.mean()),
        "right_dates_ci95": wilson_interval(int(right.sum()), ASKED),
        "right_dates_copied": float(as_copied.mean()),
        "right_dates_by_form": {name: float(right[of].mean()) for name, of in by_form.items()},
        "right_dates_copied_by_form": {
            name: float(as_copied[of].mean()) for name, of in by_form.items()
        },
        "examples": {
            scored[at].text: "".join(map(str, written[at]))
            for at in [next(i for i, row in enumerate(scored) if row.form == n) for n in by_form]
        },
    }
    return found, None


def _row(day: date, random: np.random.Generator) -> tuple[str, str, list[int], list[int]]:
    written = forms(day)
    form = str(random.choice(list(written)))
    codes = list(written[form].encode().ljust(LETTERS, b"\0"))
    return form, written[form], codes, [int(digit) for digit in f"{day:%Y%m%d}"]


def _copied(text: str) -> npt.NDArray[np.int64]:
    digits = "".join(filter(str.isdigit, text)).ljust(PLACES, "0")
    return np.array([int(digit) for digit in digits[:PLACES]])


def draw(found: Findings, drawn: None) -> Figure:
    """Right dates by form; an example of each."""
    figure = new_figure(9.5, 3)
    axes = figure.subplots()
    shares, examples = found["right_dates_by_form"], found["examples"]
    for y, (form, (text, digits)) in enumerate(zip(shares, examples.items(), strict=True)):
        axes.barh(y, 1, color=PALE)
        axes.barh(y, shares[form], color=BLUE)
        axes.plot(found["right_dates_copied_by_form"][form], y, "o", color=ORANGE, clip_on=False)
        axes.text(1.04, y, f"{shares[form]:.1%}", va="center", fontsize=8, color=GREY)
        axes.text(1.17, y, f"{text}  ->  {digits}", va="center", fontsize=9, color=INK,
                  family="monospace")  # fmt: skip
    axes.set_yticks(range(len(shares)), list(shares), fontsize=8)
    axes.invert_yaxis()
    axes.plot([], [], "o", color=ORANGE, label="digits copied in their order")
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(0, -0.1))
    axes.set_xlim(0, 1.8)
    axes.set_xticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
    clean_axes(axes)
    axes.spines["bottom"].set_bounds(0, 1)
    low, high = found["right_dates_ci95"]
    axes.set_title(f"Of {found['dates_asked']} dates never seen, {found['right_dates']:.1%} "
                   f"({low:.1%} to {high:.1%}) right to the last digit", fontsize=9, color=INK,
                   loc="left")  # fmt: skip
    return figure


def main(arguments: Sequence[str] | None = None) -> Findings:
    """Learn, ask, draw, print."""
    return run("sequences", find, draw, arguments, data="not used: the dates are made here")


if __name__ == "__main__":
    main()
