"""Designs with a recipe, and starts of transfer learning, on storage: JSON and plain files.

    URL/network/NAME         files that a recipe names, beside the JSON that holds the recipe
    URL/start.json           a start of transfer learning
    URL/weights.safetensors  its tensors

What is read is checked before it is used: names of files are plain, their bytes are those that were
written.
"""

import atexit
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import nn

from hilum import storage
from hilum.errors import ChecksumError, InvalidValueError, require
from hilum.models.architectures import Architecture, architecture
from hilum.models.factories import FactoryRecipe
from hilum.models.published import sha256_of_file
from hilum.models.recipes import PixelContract, Recipe, recipe_of
from hilum.models.transfer_start import TransferStart
from hilum.models.weights import WeightsReport, tensor_bytes

__all__ = [
    "NETWORK_FOLDER",
    "builder",
    "design_from_json",
    "design_to_json",
    "load_start",
    "save_start",
    "write_design_files",
]

NETWORK_FOLDER = "network"
_FILE_NAME = re.compile(r"\w[\w.\-]*")
_START, _WEIGHTS = "start.json", "weights.safetensors"


def builder(recipe: Recipe) -> Callable[[], nn.Module]:
    """What an `Architecture` builds with: layers are random, where a recipe makes zeros.

    Tensors that belong to no layer stay zeros (`OwnTensor`).
    """
    return recipe.build_random if isinstance(recipe, FactoryRecipe) else partial(_random, recipe)


def _random(recipe: Recipe) -> nn.Module:
    model = recipe.build()
    for module in model.modules():
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
    return model


def design_to_json(design: Architecture) -> dict[str, Any]:
    """A design with a recipe as plain data; the recipe's files go beside (`write_design_files`)."""
    recipe = design.recipe
    assert recipe is not None, "a library's network is stored by its name"
    return {
        "name": design.name,
        "head": design.head,
        "mean": list(design.mean),
        "std": list(design.std),
        "image_size_px": design.image_size_px,
        "recipe": recipe.to_json(),
        "files": {name: sha256_of_file(path) for name, path in recipe.files().items()},
    }


def design_from_json(data: Mapping[str, Any], url: str = "") -> Architecture:
    """The inverse of `design_to_json`; no code runs before the design is built.

    Args:
        data: what `design_to_json` gave.
        url: the directory that `write_design_files` wrote to; files are copied to this machine.

    Raises:
        InvalidValueError: it is not such data, or a file has a name that leads elsewhere.
        ChecksumError: a file is missing or not the one that was written.
    """
    try:
        files = {str(name): str(digest) for name, digest in data["files"].items()}
        recipe = recipe_of(data["recipe"], _local_copy(url, tuple(files.items())))
        return Architecture(
            name=str(data["name"]),
            build=builder(recipe),
            head=str(data["head"]),
            mean=tuple(map(float, data["mean"])),
            std=tuple(map(float, data["std"])),
            image_size_px=int(data["image_size_px"]),
            recipe=recipe,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise InvalidValueError(f"the stored network is incomplete: {error!r}.") from error


def write_design_files(design: Architecture | None, url: str) -> None:
    """Copy the files of a design's recipe to URL/network; nothing for most designs."""
    files = design.recipe.files() if design is not None and design.recipe is not None else {}
    for name, path in files.items():
        _require_plain(name)
        storage.write_bytes(storage.join(url, NETWORK_FOLDER, name), path.read_bytes())


def save_start(start: TransferStart, url: str) -> None:
    """Write a start to a directory on any storage; the JSON comes last."""
    design = start.architecture
    write_design_files(design, url)
    storage.write_bytes(storage.join(url, _WEIGHTS), tensor_bytes(start.tensors))
    described = {
        "architecture": design.name,
        "network": None if design.recipe is None else design_to_json(design),
        "findings": start.findings,
        "report": asdict(start.report),
        "pixels": asdict(start.pixels),
        "dropout": start.dropout,
        "head_weight_decay": start.head_weight_decay,
        "frozen": list(start.frozen),
    }
    storage.write_json(storage.join(url, _START), described)


def load_start(url: str) -> TransferStart:
    """Read what `save_start` wrote.

    Raises:
        InvalidValueError: it is not complete.
    """
    described = storage.read_json(storage.join(url, _START))
    try:
        network = described["network"]
        return TransferStart(
            architecture=design_from_json(network, url)
            if network
            else architecture(str(described["architecture"])),
            findings=described["findings"],
            tensors=safetensors.torch.load(storage.read_bytes(storage.join(url, _WEIGHTS))),
            report=WeightsReport(**_tupled(described["report"])),
            pixels=PixelContract(**_tupled(described["pixels"])),
            dropout=described["dropout"],
            head_weight_decay=described["head_weight_decay"],
            frozen=tuple(described["frozen"]),
        )
    except (KeyError, TypeError) as error:
        raise InvalidValueError(f"{url} must hold a start of training. Got {error!r}.") from error


def _tupled(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}


def _require_plain(name: str) -> None:
    require(bool(_FILE_NAME.fullmatch(name)), "file of a network", "a plain name", name)


def _local_copy(url: str, files: tuple[tuple[str, str], ...]) -> Path | None:
    """A folder of this process with the files; it outlives the run directory they came from."""
    if not files:
        return None
    for name, _ in files:
        _require_plain(name)
    require(url != "", "the network", "read from the directory that holds its files", url)
    return _copied(url, files)


@lru_cache(maxsize=8)
def _copied(url: str, files: tuple[tuple[str, str], ...]) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="hilum-network-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name, digest in files:
        source = storage.join(url, NETWORK_FOLDER, name)
        try:
            found = storage.copy_to_disk(source, folder / name)
        except FileNotFoundError:
            found = "no file"
        if found != digest:
            raise ChecksumError(
                f"{source} must have SHA-256 {digest}. Got {found}. "
                "Hint: the file was cut or changed; copy it again."
            )
    return folder
