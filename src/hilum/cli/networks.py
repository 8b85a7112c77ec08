"""`hilum network` and `hilum networks`."""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hilum.errors import require

if TYPE_CHECKING:
    from hilum.models.recipes import LoadedModel

__all__ = ["network", "networks"]


def network(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME|FILE",
            help="A name of `hilum networks`, torchvision:NAME, timm:NAME, or a model's file.",
        ),
    ],
    definition: Annotated[
        str | None,
        typer.Option("--definition", metavar="FILE", help="The .prototxt of a .caffemodel."),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option("--weights", metavar="FILE", help="The .bin of a .bigdl, where it has one."),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            "--size", min=1, metavar="PX", help="Side of the images; what it was made for if unset."
        ),
    ] = None,
    cut: Annotated[
        list[str] | None,
        typer.Option("--cut", metavar="NODE", help="Only up to this node; may be repeated."),
    ] = None,
    layers: Annotated[
        bool, typer.Option("--layers", help="Every layer by its name, instead of blocks.")
    ] = False,
    svg: Annotated[
        Path | None, typer.Option("--svg", metavar="FILE.svg", help="Also write a drawing.")
    ] = None,
) -> None:
    """Show what a network consists of: layers, shapes, parameters, multiply-adds, what is frozen.

    Names of layers are what cut and freeze take; so are the names that models had in 2019.

    Examples:

        hilum network resnet50 --svg resnet50.svg

        hilum network inception_v1 --cut pool5/drop_7x7_s1 --layers
    """
    require(svg is None or svg.suffix == ".svg", "--svg", "a file that ends in .svg", svg)
    from hilum.models.inspection import image_shape_of
    from hilum.models.surgery import cut as cut_model
    from hilum.models.surgery import node_table, picture_svg, picture_text

    loaded = _opened(name, definition=definition, weights=weights)
    shape = image_shape_of(loaded)
    if size is not None:
        shape = (shape[0], *(size for _ in shape[1:]))
    if cut:
        loaded = cut_model(loaded, *cut)
    typer.echo(node_table(loaded, shape) if layers else picture_text(loaded, shape))
    if svg is not None:
        title = Path(name).name if Path(name).exists() else name
        title += f", up to {', '.join(cut)}" if cut else ""
        svg.parent.mkdir(parents=True, exist_ok=True)
        svg.write_text(picture_svg(loaded, shape, title=title), encoding="utf-8")
        typer.echo(f"drawing: {svg}")


def networks() -> None:
    """List the topologies made ready for radiographs: what they want to see, where they are cut.

    Any other network of torchvision or timm goes by torchvision:NAME or timm:NAME.

    Examples:

        hilum networks
    """
    from hilum.models.topologies import TOPOLOGIES

    rows = [("name", "year", "size", "mean", "std", "cut at", "in 2019", "features")]
    for name, topology in TOPOLOGIES.items():
        wants = topology.architecture
        rows.append(
            (
                name,
                str(topology.year),
                f"{wants.image_size_px} px",
                " ".join(f"{value:g}" for value in wants.mean),
                " ".join(f"{value:g}" for value in wants.std),
                topology.cut,
                topology.cut_of_2019,
                str(topology.features),
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo(line.rstrip())


def _opened(name: str, **files: str | None) -> "LoadedModel":
    if Path(name).exists() or "://" in name or name.startswith("xrv:"):
        given = {option: file for option, file in files.items() if file is not None}
        loaded: LoadedModel = importlib.import_module("hilum.models.loading").load(name, **given)
        return loaded
    from hilum.models.inspection import blueprint

    return blueprint(name)  # nothing is downloaded for a look
