"""`hilum export`."""

from typing import Annotated

import typer

from hilum.cli.options import Bundle

__all__ = ["export"]


def export(
    bundle: Bundle,
    to: Annotated[str, typer.Option("--to", help="onnx, torch-export or safetensors.")],
    out: Annotated[
        str | None,
        typer.Option("--out", help="File to write; without it model.SUFFIX beside the bundle."),
    ] = None,
) -> None:
    """Write a model for other programs: ONNX, torch.export, or safetensors (tensors alone).

    The file is run again, by the program it is for, and its outputs are compared with the model's;
    the largest difference is printed, and a file that computes something else is not kept. It takes
    pixels after the preprocessing, (N, 3, H, W), and gives logits (N, findings) for any N. Names of
    the findings and the preprocessing are in the file's metadata.

    Examples:

        hilum export runs/first/bundle --to onnx

        hilum export runs/first/bundle --to torch-export --out model.pt2
    """
    from hilum.recipes.exporting import export_bundle

    exported = export_bundle(bundle, to, out)
    typer.echo(f"wrote {exported.path} ({exported.size_bytes / 1e6:.1f} MB)")
    typer.echo(
        f"largest difference from the original: {exported.difference:.1e} "
        f"({exported.images} images, logits up to {exported.largest:.2g}, {exported.program})"
    )
