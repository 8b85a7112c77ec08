"""A picture of a network: layers, shapes, parameters, arithmetic, and what is frozen.

As text for a terminal or a log, and as SVG for a page. Both show blocks, not layers, so that
ResNet-50 fits on a screen; `nodes` lists every layer.
"""

from collections.abc import Sequence

from hilum.models.inspection import NodeInfo, image_shape_of, nodes
from hilum.models.pictures.blocks import Block, blocks_of
from hilum.models.pictures.drawing import draw
from hilum.models.pictures.figures import in_words, shape_in_words
from hilum.models.recipes import LoadedModel, library_name

__all__ = ["node_table", "picture_svg", "picture_text"]

_HEADINGS = ("block", "layers", "output", "parameters", "multiply-adds", "learns")
_NODE_HEADINGS = ("node", "layer", "output", "parameters", "multiply-adds", "learns")
_WIDEST = 44


def picture_text(loaded: LoadedModel, image_shape: Sequence[int] | None = None) -> str:
    """Draw a network as a table of its blocks, one a line, and their sum.

    Args:
        loaded: a network with one input.
        image_shape: (C, H, W); None for what the network was made for.

    Raises:
        InvalidValueError: the network's code cannot be followed, or takes no such images.
    """
    shape = _shape(loaded, image_shape)
    listed = nodes(loaded, shape)
    rows = [_row(block) for block in blocks_of(listed)]
    return f"input {shape_in_words(shape)}\n{_table(_HEADINGS, rows)}\n{_sum(listed)}"


def node_table(loaded: LoadedModel, image_shape: Sequence[int] | None = None) -> str:
    """List all nodes of a network, under the names that `cut` and `freeze` take.

    Raises:
        InvalidValueError: as `picture_text`.
    """
    shape = _shape(loaded, image_shape)
    listed = nodes(loaded, shape)
    rows = [
        (
            node.name,
            node.layer,
            shape_in_words(node.shape),
            in_words(node.parameters),
            in_words(node.multiply_adds),
            {None: "", True: "no", False: "yes"}[node.frozen],
        )
        for node in listed
    ]
    return f"input {shape_in_words(shape)}\n{_table(_NODE_HEADINGS, rows)}\n{_sum(listed)}"


def picture_svg(
    loaded: LoadedModel, image_shape: Sequence[int] | None = None, *, title: str = ""
) -> str:
    """Draw a network as SVG: its blocks from above to below, and the inside of each kind of block.

    Args:
        loaded: a network with one input.
        image_shape: (C, H, W); None for what the network was made for.
        title: above the drawing; "" for the name in torchvision or timm.

    Raises:
        InvalidValueError: the network's code cannot be followed, takes no such images, or has
            more blocks than a drawing shows.
    """
    shape = _shape(loaded, image_shape)
    listed = nodes(loaded, shape)
    name = title or library_name(loaded.recipe) or "network"
    return draw(
        blocks_of(listed),
        title=name,
        subtitle=_sum(listed),
        source=f"input {shape_in_words(shape)}",
    )


def _shape(loaded: LoadedModel, image_shape: Sequence[int] | None) -> tuple[int, ...]:
    return image_shape_of(loaded) if image_shape is None else tuple(image_shape)


def _row(block: Block) -> tuple[str, ...]:
    kind = f"{block.count} x {block.kind}" if block.count > 1 else block.kind
    return (
        block.name,
        kind,
        shape_in_words(block.shape),
        in_words(block.parameters),
        in_words(block.multiply_adds),
        block.learns,
    )


def _sum(listed: Sequence[NodeInfo]) -> str:
    parameters = sum(node.parameters for node in listed)
    learning = sum(node.parameters for node in listed if node.frozen is False)
    multiply_adds = sum(node.multiply_adds for node in listed)
    frozen = f", {learning:,} of them learn" if learning != parameters else ""
    return f"{parameters:,} parameters{frozen}; {in_words(multiply_adds)} multiply-adds an image"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [[_short(cell) for cell in row] for row in (headings, *rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(headings))]
    right = {3, 4}  # numbers
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _short(cell: str) -> str:
    """Printable (names come from files), and not wider than a column."""
    text = "".join(c if c.isprintable() else "?" for c in cell)
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 3]}..."
