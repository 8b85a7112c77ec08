"""What a report is made of: parts with sentences, pictures and tables, in the order to read them.

Whatever is measured becomes a part by one function from plain values; the page, the CSV files and
report.json are made from parts, so they cannot disagree. A part that was not given its input is a
sentence under "Not examined" instead of a gap.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from hilum.evaluation.report.tables import Table

__all__ = ["Missing", "Part", "Picture"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Picture:
    """A figure with words for those who do not see it (`text`) and for all (`caption`)."""

    name: str
    figure: Figure
    text: str
    caption: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """One section.

    Attributes:
        anchor: its `id` in the page.
        lead: sentences above pictures and tables: what this is and how to read it.
        warnings: sentences a reader must not miss.
        tables_first: tables stand above the pictures.
    """

    anchor: str
    title: str
    lead: Sequence[str] = ()
    warnings: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    tables_first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """What was not examined, and why or what it takes."""

    what: str
    why: str
