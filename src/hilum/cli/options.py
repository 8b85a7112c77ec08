"""Options that several commands share, declared once."""

from typing import Annotated

import typer

__all__ = [
    "Bundle",
    "CloserLook",
    "Epochs",
    "Glob",
    "ImageSize",
    "Images",
    "Labels",
    "Master",
    "Model",
    "Out",
    "Ranks",
    "Seed",
    "Split",
    "SplitBy",
    "SplitList",
    "Weights",
]

Images = Annotated[
    str, typer.Option("--images", help="File, directory or glob; any file system Spark reads.")
]
Labels = Annotated[
    str,
    typer.Option(
        "--labels",
        help="NIH Data_Entry CSV, or any CSV or Parquet with image names and findings.",
    ),
]
Out = Annotated[str, typer.Option("--out", help="Directory for the results.")]
Bundle = Annotated[
    str,
    typer.Argument(metavar="BUNDLE", help="Model directory or its URL, such as RUN/bundle."),
]
CloserLook = Annotated[
    int,
    typer.Option(
        "--closer-look",
        min=0,
        help="Images scored again under disturbances and probed for shortcuts, and heat maps of "
        "the cases, for the report; 0 for none.",
    ),
]
Master = Annotated[
    str,
    typer.Option(
        "--master", help="Spark master: local[N], local-cluster[N,CORES,MIB], spark://, yarn."
    ),
]
Glob = Annotated[str | None, typer.Option("--glob", help='Only files like this, such as "*.dcm".')]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        help="efficientnet_lite0, resnet50, densenet121, googlenet, inception_v3, vgg16, "
        "timm:NAME or torchvision:NAME.",
    ),
]
Weights = Annotated[
    str, typer.Option("--weights", help="Start weights: auto, published, random, or a file.")
]
Epochs = Annotated[int, typer.Option("--epochs", min=1, help="Passes over the training images.")]
ImageSize = Annotated[
    int, typer.Option("--image-size", min=0, help="Pixels; 0 is the architecture's own size.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of split, start weights and order.")]
Ranks = Annotated[
    int, typer.Option("--ranks", min=0, help="Training processes; 0 is one per executor.")
]
Split = Annotated[str, typer.Option("--split-fractions", help="Shares of train,valid,test.")]
SplitBy = Annotated[
    str, typer.Option("--split-by", help="patient, or image as in the 2019 paper (leaks).")
]
SplitList = Annotated[
    str | None,
    typer.Option(
        "--split-list", help="CSV with image name and split; overrides --split-fractions."
    ),
]
