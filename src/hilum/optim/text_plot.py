"""A curve in letters, for a terminal."""

import math
from collections.abc import Sequence

from hilum.errors import require

__all__ = ["text_plot"]


def text_plot(
    steps: Sequence[int],
    rates: Sequence[float],
    *,
    width: int = 72,
    height: int = 12,
    log: bool = False,
) -> str:
    """Draw learning rates over steps, a star per column at its last rate, with both axes labelled.

    Args:
        steps: rising, one for each of `rates`.
        rates: finite numbers of at least 0.
        width: columns of the drawing without its axis. height: rows.
        log: logarithmic rates; those of 0 are left out.
    """
    require(len(steps) == len(rates) > 0, "rates", "as many as steps, at least one", len(rates))
    drawn = [
        (s, math.log10(r) if log else r) for s, r in zip(steps, rates, strict=True) if r or not log
    ]
    require(bool(drawn), "rates", "above 0 on a logarithmic axis", 0)
    first, last = steps[0], max(steps[-1], steps[0] + 1)
    low = min(value for _, value in drawn) if log else 0.0
    high = max(value for _, value in drawn)
    span = (high - low) or abs(high) or 1.0
    columns = {(step - first) * (width - 1) // (last - first): value for step, value in drawn}
    grid = [[" "] * width for _ in range(height)]
    for column, value in columns.items():
        grid[height - 1 - round((value - low) / span * (height - 1))][column] = "*"
    labels = [low + span * (height - 1 - row) / (height - 1) for row in range(height)]
    shown = [f"{10**label if log else label:9.2e}" for label in labels]
    lines = [f"{label} |{''.join(row).rstrip()}" for label, row in zip(shown, grid, strict=True)]
    foot = f"{first}{last:>{width - len(str(first))}}"
    return "\n".join([*lines, f"{'':9} +{'-' * width}", f"{'step':>9}  {foot}"])
