"""Places for the boxes of a drawing: rows from above to below, lines that pass between the boxes.

The usual three steps of layered drawing (Sugiyama 1981): every box below all it reads; in every row
an invisible place for each line that passes through; rows ordered so that few lines cross.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["Layout", "layered"]

_SWEEPS = 6
_LANE = 0.28  # width of a passing line's place, in boxes


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where everything goes.

    Attributes:
        row: of each box, from 0.
        centre: of each box, in widths of a box from the left edge.
        width: of the drawing, in widths of a box.
        lines: for each edge its points (row, centre), from box to box.
    """

    row: tuple[int, ...]
    centre: tuple[float, ...]
    width: float
    lines: dict[tuple[int, int], tuple[tuple[int, float], ...]]


def layered(num_boxes: int, edges: Sequence[tuple[int, int]], gap: float = 0.12) -> Layout:
    """Arrange boxes, numbered so that every edge goes from a lower number to a higher one.

    Args:
        num_boxes: how many.
        edges: (from, to).
        gap: between neighbours in a row, in widths of a box.
    """
    row = _rows_of_boxes(num_boxes, edges)
    lanes: dict[tuple[int, int], int] = {}  # (source, row) to the invisible place there
    chains = {edge: _chain(edge, row, lanes, num_boxes) for edge in dict.fromkeys(edges)}
    rows = _rows(num_boxes, row, lanes)
    links = {link: None for chain in chains.values() for link in pairwise(chain)}
    neighbours: dict[int, tuple[list[int], list[int]]] = {}
    for a, b in links:
        neighbours.setdefault(b, ([], []))[0].append(a)
        neighbours.setdefault(a, ([], []))[1].append(b)
    centre = _centres(rows, neighbours, num_boxes, gap)
    place = {item: (r, centre[item]) for r, items in enumerate(rows) for item in items}
    return Layout(
        row=tuple(row),
        centre=tuple(centre[box] for box in range(num_boxes)),
        width=max(c + _size(item, num_boxes) / 2 for item, c in centre.items()),
        lines={edge: tuple(place[item] for item in chain) for edge, chain in chains.items()},
    )


def _rows_of_boxes(num_boxes: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """Each as high as what it reads allows; one that reads nothing just above its first reader."""
    row = [0] * num_boxes
    for source, target in sorted(edges, key=lambda edge: edge[1]):
        row[target] = max(row[target], row[source] + 1)
    reading = {target for _, target in edges}
    for box in set(range(1, num_boxes)) - reading:
        readers = [row[target] for source, target in edges if source == box]
        row[box] = min(readers, default=1) - 1
    return row


def _chain(
    edge: tuple[int, int], row: Sequence[int], lanes: dict[tuple[int, int], int], num_boxes: int
) -> tuple[int, ...]:
    """Box, places, box. Lines from the same box share their places: they carry the same value."""
    source, target = edge
    passing = []
    for here in range(row[source] + 1, row[target]):
        passing.append(lanes.setdefault((source, here), num_boxes + len(lanes)))
    return (source, *passing, target)


def _rows(num_boxes: int, row: Sequence[int], lanes: dict[tuple[int, int], int]) -> list[list[int]]:
    rows: list[list[int]] = [[] for _ in range(max(row, default=0) + 1)]
    for box in range(num_boxes):
        rows[row[box]].append(box)
    for (_, here), place in lanes.items():
        rows[here].append(place)
    return rows


def _size(item: int, num_boxes: int) -> float:
    return 1.0 if item < num_boxes else _LANE


def _centres(
    rows: list[list[int]],
    neighbours: dict[int, tuple[list[int], list[int]]],
    num_boxes: int,
    gap: float,
) -> dict[int, float]:
    """Sweep down and up: order each row by the mean of its neighbours, then push apart."""
    centre: dict[int, float] = {}
    for items in rows:
        _spread(items, dict.fromkeys(items, 0.0), centre, num_boxes, gap)
    for sweep in range(_SWEEPS):
        side = sweep % 2
        for items in rows if side == 0 else reversed(rows):
            wanted = {}
            for item in items:
                near = neighbours.get(item, ([], []))[side]
                wanted[item] = (
                    sum(centre[other] for other in near) / len(near) if near else centre[item]
                )
            items.sort(key=lambda item: wanted[item])
            _spread(items, wanted, centre, num_boxes, gap)
    left = min(c - _size(item, num_boxes) / 2 for item, c in centre.items())
    return {item: c - left for item, c in centre.items()}


def _spread(
    items: list[int],
    wanted: dict[int, float],
    centre: dict[int, float],
    num_boxes: int,
    gap: float,
) -> None:
    """Give a row's items places near what they want, in order and without overlap."""
    placed: list[float] = []
    free = float("-inf")  # where the row is empty from
    for item in items:
        half = _size(item, num_boxes) / 2
        placed.append(max(wanted[item], free + half))
        free = placed[-1] + half + gap
    # Pushing goes to the right only; shift the row back by the mean of what it was pushed.
    pushed = [p - wanted[item] for item, p in zip(items, placed, strict=True)]
    shift = sum(pushed) / len(pushed) if pushed else 0.0
    for item, p in zip(items, placed, strict=True):
        centre[item] = p - shift
