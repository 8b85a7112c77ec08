"""`hilum explain`: one radiograph, its most probable findings, and where the model sees them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from hilum import storage
from hilum.decoding import decode
from hilum.errors import InvalidValueError
from hilum.evaluation.figures import figure_to_png
from hilum.evaluation.overlays import plot_explanations
from hilum.explain import Explainer, HeatMap, Method
from hilum.inference import load_bundle

__all__ = ["Explained", "explain_file"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """The picture written, and the maps in it."""

    picture: str
    heat_maps: tuple[HeatMap, ...]


def explain_file(
    bundle: str,
    image: str,
    out: str,
    *,
    findings: Sequence[str] | None = None,
    method: Method = "grad-cam",
    top: int = 3,
) -> Explained:
    """Explain one PNG, JPEG or DICOM file and write a PNG with an overlay per finding.

    Args:
        bundle: model directory.
        image: the radiograph.
        out: the PNG to write.
        findings: names; None for the `top` most probable.
        method: "grad-cam" or "occlusion".
        top: how many findings, where none are named.

    Raises:
        RejectedImageError: the file cannot be used; the reason is that of `hilum predict`.
    """
    try:
        content = storage.read_bytes(image)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise InvalidValueError(f"IMAGE must be a file. Got {image!r}.") from error
    pixels = decode(content).pixels
    explainer = Explainer.load(load_bundle(bundle))
    heat_maps = explainer.explain(pixels, findings, method=method, top=top)
    figure = plot_explanations(
        pixels,
        {one.finding: one.values for one in heat_maps},
        captions={one.finding: f"{one.probability:.1%}" for one in heat_maps},
        title=PurePosixPath(image).name,
    )
    storage.write_bytes(out, figure_to_png(figure))
    return Explained(picture=out, heat_maps=heat_maps)
