"""How a network is built again on another machine: by data, never by unpickling code.

A network that came from a file, was cut, or got a new head, is described by a recipe. JSON (and
the files it names) go into the run folder and the bundle; every rank and every server builds the
same module from them and then loads the tensors.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from torch import nn

from hilum.errors import InvalidValueError, require
from hilum.models.architectures import architecture
from hilum.models.graph import GraphNetwork, NetworkSpec
from hilum.models.initialisation import random_parameters_zero
from hilum.models.weights import WeightsReport

__all__ = ["GraphRecipe", "LibraryRecipe", "LoadedModel", "PixelContract", "Recipe", "recipe_of"]


class Recipe(Protocol):
    """Builds a network whose tensors have the same names every time."""

    def build(self) -> nn.Module:
        """Return the network, its parameters zero: a state dict comes next."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Plain data with a "kind", which `recipe_of` takes."""
        ...

    def files(self) -> Mapping[str, Path]:
        """Files that `to_json` names, by the names it uses; most recipes need none."""
        ...


@dataclass(frozen=True, slots=True)
class LibraryRecipe:
    """A network of torchvision or timm, with the head it was published with."""

    name: str

    def build(self) -> nn.Module:
        """Return the library's network."""
        with random_parameters_zero():
            return architecture(self.name).build()

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"kind": "library", "name": self.name}

    def files(self) -> Mapping[str, Path]:
        """None."""
        return {}


@dataclass(frozen=True, slots=True)
class GraphRecipe:
    """A network of named nodes."""

    spec: NetworkSpec

    def build(self) -> GraphNetwork:
        """Return the network of the spec."""
        with random_parameters_zero():
            return GraphNetwork(self.spec)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"kind": "graph", "network": self.spec.to_json()}

    def files(self) -> Mapping[str, Path]:
        """None."""
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelContract:
    """What a network wants to see; None where its file does not say.

    Attributes:
        channels: "RGB" or "BGR" (Caffe), the order of the input's planes.
        mean: per channel in that order, subtracted from pixels scaled to 0..1.
        std: likewise, what is divided by.
        size_px: height and width of the input.
    """

    channels: str = "RGB"
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    size_px: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A network with its weights, wherever it came from; what `load` returns.

    Attributes:
        network: in evaluation mode; takes (N, C, H, W) or what `recipe` says.
        recipe: builds it again, with the same names of tensors.
        report: where the tensors came from and which had no place.
        pixels: what it wants to see.
    """

    network: nn.Module = field(repr=False)
    recipe: Recipe = field(repr=False)
    report: WeightsReport
    pixels: PixelContract = field(default_factory=PixelContract)


_Reader = Callable[[Mapping[str, Any], Path | None], Recipe]


def recipe_of(data: Mapping[str, Any], folder: Path | None = None) -> Recipe:
    """The inverse of `Recipe.to_json`.

    Args:
        data: what `to_json` gave.
        folder: where the files lie that it names.

    Raises:
        InvalidValueError: not a recipe, or of a kind this version does not know.
    """
    kind = data.get("kind")
    require(kind in _KINDS, "kind of a network", f"one of {', '.join(_KINDS)}", kind)
    try:
        return _KINDS[str(kind)](data, folder)
    except (KeyError, TypeError, AttributeError) as error:
        raise InvalidValueError(f"a network's recipe is incomplete: {error!r}.") from error


_KINDS: Mapping[str, _Reader] = MappingProxyType(
    {
        "graph": lambda data, _: GraphRecipe(NetworkSpec.from_json(data["network"])),
        "library": lambda data, _: LibraryRecipe(str(data["name"])),
    }
)
