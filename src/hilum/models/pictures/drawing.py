"""Blocks of a network as SVG: the whole on the left, the inside of its kinds of block beside it.

Plain SVG 1.1 without scripts or fonts of its own: it opens in any browser, in a Markdown page and
in a report. Names come from files of others and are escaped.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from hilum.errors import require
from hilum.models.pictures.blocks import Block, blocks_inside
from hilum.models.pictures.figures import in_words, shape_in_words
from hilum.models.pictures.layering import Layout, layered

__all__ = ["MAX_BLOCKS", "draw"]

MAX_BLOCKS = 300
_MAX_INSIDE = 16
_MAX_PANELS = 5

_WIDTH, _HEIGHT = 264.0, 46.0  # of a box
_INNER_WIDTH, _INNER_HEIGHT = 176.0, 60.0
_BETWEEN = 22.0  # rows
_MARGIN, _HEADER, _CAPTION = 26.0, 60.0, 16.0
_APART = 46.0
_CHARACTER = 6.15  # mean width at 11 px
_BOLD = 1.1

_LEGEND = (
    "right: shape of the output, parameters / multiply-adds; bar: share of the multiply-adds; "
    "hatched: frozen"
)
_STYLE = """
text{font:11px ui-sans-serif,system-ui,"Segoe UI",Helvetica,Arial,sans-serif;fill:#1d2733}
.title{font-size:19px;font-weight:600}.sub{fill:#5b6875}.name{font-weight:600}
.line{fill:none;stroke:#8a97a5;stroke-width:1.3}.panel{fill:#fafbfc;stroke:#dde3e9}
.bar{fill:#c2410c}.track{fill:#000;fill-opacity:.07}
"""
# Fill and border; the first whose words begin the kind of a block.
_COLOURS: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (("Conv",), "#dcebfa", "#3f7cb8"),
    (("MaxPool", "AvgPool", "Adaptive", "adaptive", "max_pool", "avg_pool"), "#dff2e3", "#3c8f57"),
    (("GlobalAverage", "mean"), "#dff2e3", "#3c8f57"),
    (("Linear",), "#fde6cf", "#c4701c"),
    (("Add", "add", "cat", "Concatenate", "Multiply", "mul", "iadd"), "#ffffff", "#6b7785"),
)
_LAYER = ("#f0f2f5", "#7c8896")
_BLOCK = ("#ebe4f8", "#7655b0")


def draw(blocks: Sequence[Block], *, title: str, subtitle: str, source: str) -> str:
    """Draw blocks and return the text of an SVG file.

    Args:
        blocks: of `blocks_of`.
        title: the largest line.
        subtitle: what the whole amounts to.
        source: what goes in, above the first block.

    Raises:
        InvalidValueError: more blocks than can be looked at.
    """
    require(
        len(blocks) <= MAX_BLOCKS,
        "picture",
        f"of at most {MAX_BLOCKS} blocks",
        len(blocks),
        hint="draw a part: cut the network",
    )
    whole = _panel(blocks, _WIDTH, _HEIGHT, source=source)
    inner = [
        _panel(
            inside, _INNER_WIDTH, _INNER_HEIGHT, caption=f"inside {block.kind} {_first_name(block)}"
        )
        for block, inside in _worth_opening(blocks)
    ]
    bodies = [_moved(whole, _MARGIN, _HEADER)]
    x = _MARGIN + whole.width + _APART
    right, bottom, y = x - _APART, _HEADER + whole.height, _HEADER
    widest = 0.0
    for panel in inner:
        if y > _HEADER and y + panel.height > max(bottom, _HEADER + whole.height):
            x, y, widest = x + widest + _APART / 2, _HEADER, 0.0
        bodies.append(_moved(panel, x, y))
        widest = max(widest, panel.width)
        right, bottom = max(right, x + panel.width), max(bottom, y + panel.height)
        y += panel.height + _APART / 2
    return _document(bodies, right + _MARGIN, bottom + _MARGIN, title, subtitle)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Panel:
    body: str
    width: float
    height: float


def _document(bodies: Sequence[str], width: float, height: float, title: str, sub: str) -> str:
    width = max(width, _MARGIN * 2 + max(len(sub), len(_LEGEND)) * _CHARACTER)
    height += 20
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img">\n'
        f"<title>{_text(title)}</title><style>{_STYLE}</style>\n"
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" '
        'markerHeight="6" orient="auto"><path d="M0,0L8,4L0,8z" fill="#8a97a5"/></marker>'
        '<pattern id="ice" width="7" height="7" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(45)"><path d="M0,0V7" stroke="#2b6cb0" stroke-opacity=".22" '
        'stroke-width="3"/></pattern></defs>\n'
        '<rect width="100%" height="100%" fill="#fff"/>\n'
        f'<text class="title" x="{_MARGIN}" y="30">{_text(title)}</text>'
        f'<text class="sub" x="{_MARGIN}" y="49">{_text(sub)}</text>\n'
        + "\n".join(bodies)
        + f'\n<text class="sub" x="{_MARGIN}" y="{height - 16:.0f}">{_LEGEND}</text>\n</svg>\n'
    )


def _moved(panel: _Panel, x: float, y: float) -> str:
    return f'<g transform="translate({x:.1f},{y:.1f})">{panel.body}</g>'


def _first_name(block: Block) -> str:
    return block.path or block.name


def _worth_opening(blocks: Sequence[Block]) -> list[tuple[Block, tuple[Block, ...]]]:
    """Of each kind of block the first, or a later one with a part more, unless it is a chain."""
    chosen: dict[str, tuple[Block, tuple[Block, ...]]] = {}
    for block in blocks:
        inside = blocks_inside(block) if len(block.nodes) > block.count else ()
        if len(inside) > _MAX_INSIDE or not _is_more_than_a_chain(inside):
            continue
        known = len(chosen[block.kind][1]) if block.kind in chosen else 0
        # ResNet-18 has its first short cut with a convolution in a later block; DenseNet's later
        # blocks have twice the layers and show nothing new.
        if known == 0 or known < len(inside) <= known + known // 2:
            chosen[block.kind] = (block, inside)
    return list(chosen.values())[:_MAX_PANELS]


def _is_more_than_a_chain(inside: Sequence[Block]) -> bool:
    return any(block.inputs not in ((index - 1,), ()) for index, block in enumerate(inside))


def _panel(
    blocks: Sequence[Block], width: float, tall: float, *, source: str = "", caption: str = ""
) -> _Panel:
    """A layered drawing of blocks; inside a block, what it reads is a point above."""
    # The input is box 0, so that lines from it are laid out like all others.
    edges = [(read + 1, index + 1) for index, block in enumerate(blocks) for read in block.inputs]
    layout = layered(len(blocks) + 1, edges)
    pad, top = (14.0, _CAPTION) if caption else (0.0, 0.0)
    place = _Place(layout=layout, width=width, tall=tall, left=pad, top=top)
    total = sum(block.multiply_adds for block in blocks)
    parts = [_line(place, edge) for edge in layout.lines]
    parts.append(_input(place, source or "in"))
    parts += [_box(place, i + 1, block, total) for i, block in enumerate(blocks)]
    full_width = max(layout.width * width, len(caption) * _CHARACTER * _BOLD) + 2 * pad
    height = place.y(max(layout.row)) + tall + pad
    if caption:
        frame = f'<rect class="panel" width="{full_width:.1f}" height="{height:.1f}" rx="8"/>'
        label = _fitted(caption, full_width - 2 * pad, bold=True)
        parts = [frame, f'<text class="name" x="{pad}" y="23">{_text(label)}</text>', *parts]
    return _Panel(body="".join(parts), width=full_width, height=height)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """From rows and widths of a box to pixels."""

    layout: Layout
    width: float
    tall: float
    left: float
    top: float

    def x(self, centre: float) -> float:
        return self.left + centre * self.width

    def y(self, row: int) -> float:
        """Upper edge of a row; that of the input is lower than the others."""
        return self.top + row * (self.tall + _BETWEEN)


def _line(place: _Place, edge: tuple[int, int]) -> str:
    """From the lower edge of a box, past the boxes between, to the upper edge of another."""
    points = place.layout.lines[edge]
    x, y = place.x(points[0][1]), place.y(points[0][0]) + place.tall
    path = [f"M{x:.1f},{y:.1f}"]
    for position, (row, centre) in enumerate(points[1:], start=1):
        to_x, to_y = place.x(centre), place.y(row)
        middle = (y + to_y) / 2
        path.append(f"C{x:.1f},{middle:.1f} {to_x:.1f},{middle:.1f} {to_x:.1f},{to_y:.1f}")
        x, y = to_x, to_y
        if position < len(points) - 1:
            y += place.tall
            path.append(f"V{y:.1f}")
    return f'<path class="line" d="{"".join(path)}" marker-end="url(#tip)"/>'


def _input(place: _Place, source: str) -> str:
    x, y = place.x(place.layout.centre[0]), place.y(0) + place.tall
    width = len(source) * _CHARACTER + 18
    return (
        f'<rect x="{x - width / 2:.1f}" y="{y - 22:.1f}" width="{width:.1f}" height="22" rx="11" '
        f'fill="#1d2733"/><text x="{x:.1f}" y="{y - 7:.1f}" text-anchor="middle" '
        f'style="fill:#fff">{_text(source)}</text>'
    )


def _box(place: _Place, position: int, block: Block, total: int) -> str:
    width, inset = place.width, 9.0
    x = place.x(place.layout.centre[position]) - width / 2
    y = place.y(place.layout.row[position])
    fill, border = _colours(block)
    kind = f"{block.count} x {block.kind}" if block.count > 1 else block.kind
    sizes = " / ".join(filter(None, (in_words(block.parameters), in_words(block.multiply_adds))))
    shape = shape_in_words(block.shape)
    left, right = x + inset, x + width - inset
    room = width - 2 * inset - 8
    name = _fitted(block.name, room - len(shape) * _CHARACTER, bold=True)
    roomy = place.tall > _HEIGHT  # a line more, as boxes are narrow
    kind = kind.replace("BatchNorm2d", "BatchNorm").replace(" + ", ", ")
    kind = _fitted(kind, room + 8 if roomy else room - len(sizes) * _CHARACTER)
    parts = [f"<g><title>{_text(_tooltip(block))}</title>"]
    if block.count > 1:  # a pile
        parts.append(_rect(x + 5, y + 5, place, fill, border))
    parts.append(_rect(x, y, place, fill, border))
    if block.learns in ("no", "in part"):
        parts.append(_rect(x, y, place, "url(#ice)", border))
    parts += [
        f'<text class="name" x="{left:.1f}" y="{y + 17:.1f}">{_text(name)}</text>',
        f'<text x="{right:.1f}" y="{y + 17:.1f}" text-anchor="end">{shape}</text>',
        f'<text class="sub" x="{left:.1f}" y="{y + 33:.1f}">{_text(kind)}</text>',
        f'<text class="sub" x="{right:.1f}" y="{y + (48 if roomy else 33):.1f}" '
        f'text-anchor="end">{sizes}</text>',
        _share(left, y + place.tall - 7, width - 2 * inset, block.multiply_adds / max(total, 1)),
        "</g>",
    ]
    return "".join(parts)


def _rect(x: float, y: float, place: _Place, fill: str, border: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{place.width:.1f}" height="{place.tall}" rx="6" '
        f'fill="{fill}" stroke="{border}"/>'
    )


def _share(x: float, y: float, width: float, share: float) -> str:
    """A bar as long as the block's part in the arithmetic of its panel."""
    if share == 0:
        return ""
    return (
        f'<rect class="track" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="2.5"/>'
        f'<rect class="bar" x="{x:.1f}" y="{y:.1f}" width="{width * share:.1f}" height="2.5"/>'
    )


def _colours(block: Block) -> tuple[str, str]:
    for words, fill, border in _COLOURS:
        if not block.path and block.kind.startswith(words):
            return fill, border
    return _BLOCK if block.path or block.kind.startswith("block") else _LAYER


def _tooltip(block: Block) -> str:
    frozen = {"no": "frozen", "in part": "partly frozen"}.get(block.learns, "")
    figures = f"{block.parameters:,} parameters, {block.multiply_adds:,} multiply-adds"
    return "; ".join(filter(None, (block.name, block.kind, figures, frozen)))


def _fitted(text: str, width: float, *, bold: bool = False) -> str:
    """Shortened in the middle: names begin and end with what tells them apart."""
    characters = max(int(width / (_CHARACTER * (_BOLD if bold else 1.0))), 6)
    if len(text) <= characters:
        return text
    head = (characters - 3) // 2
    return f"{text[:head]}...{text[len(text) - (characters - 3 - head) :]}"


def _text(text: str) -> str:
    """Escaped; characters that XML does not allow become question marks."""
    return escape("".join(c if c.isprintable() else "?" for c in text))
