"""How a network is built again on another machine: by data, never by unpickling code.

A network that came from a file, was cut, or got a new head, is described by a recipe. JSON (and
the files it names) go into the run folder and the bundle; every rank and every server builds the
same module from them and then loads the tensors.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from torch import nn

from hilum.errors import InvalidValueError, require
from hilum.models.architectures import architecture
from hilum.models.factories import FactoryRecipe
from hilum.models.graph import GraphNetwork, NetworkSpec
from hilum.models.graph.arithmetic import GlobalAveragePool
from hilum.models.graph.network import MAX_PARAMETERS
from hilum.models.initialisation import random_parameters_zero
from hilum.models.named_nodes import cut_network
from hilum.models.node_names import names_of_2019
from hilum.models.traced import Program, TracedNetwork, traced_network
from hilum.models.weights import WeightsReport

__all__ = [
    "CutRecipe",
    "GraphRecipe",
    "LibraryRecipe",
    "LoadedModel",
    "PixelContract",
    "Recipe",
    "TracedRecipe",
    "TransferRecipe",
    "library_name",
    "recipe_of",
]


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
class CutRecipe:
    """Another network, up to some of its nodes.

    Attributes:
        of: the other network.
        at: names of the nodes whose values come out; several make a tuple.
    """

    of: Recipe
    at: tuple[str, ...]

    def build(self) -> nn.Module:
        """Return the part; its tensors have the names they had."""
        return cut_network(self.of.build(), self.at, names_of_2019(library_name(self.of)))

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"kind": "cut", "of": self.of.to_json(), "at": list(self.at)}

    def files(self) -> Mapping[str, Path]:
        """Those of the other network."""
        return self.of.files()


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferRecipe:
    """A network of which another is the trunk, then average pooling and a linear layer, "head".

    Attributes:
        of: the trunk, from (N, C, H, W) to (N, features) or (N, features, H', W').
        features: what the head reads.
        findings: what it gives.

    Raises:
        InvalidValueError: not positive, or absurdly large.
    """

    of: Recipe
    features: int
    findings: int

    def __post_init__(self) -> None:
        require(self.features >= 1, "features", "at least 1", self.features)
        require(self.findings >= 1, "findings", "at least 1", self.findings)
        size = self.features * self.findings
        require(size <= MAX_PARAMETERS, "parameters", f"at most {MAX_PARAMETERS:,}", f"{size:,}")

    def build(self) -> nn.Sequential:
        """Return the network; tensors of the trunk are called "trunk." and what they were."""
        trunk = self.of.build()
        with random_parameters_zero():
            head = nn.Linear(self.features, self.findings)
        return nn.Sequential(OrderedDict(trunk=trunk, pool=GlobalAveragePool(), head=head))

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "kind": "transfer",
            "of": self.of.to_json(),
            "features": self.features,
            "findings": self.findings,
        }

    def files(self) -> Mapping[str, Path]:
        """Those of the trunk."""
        return self.of.files()


@dataclass(frozen=True, slots=True)
class TracedRecipe:
    """A network of the user's Python, as the steps that it was seen to take."""

    program: Program

    def build(self) -> TracedNetwork:
        """Return the network of the program."""
        with random_parameters_zero():
            return traced_network(self.program)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"kind": "traced", "program": self.program.to_json()}

    def files(self) -> Mapping[str, Path]:
        """None."""
        return {}


def library_name(recipe: Recipe) -> str:
    """The name in torchvision or timm of what a network was made from; "" for one from a file."""
    while isinstance(recipe, CutRecipe | TransferRecipe):
        recipe = recipe.of
    return recipe.name if isinstance(recipe, LibraryRecipe) else ""


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
    kind = str(data.get("kind"))
    require(kind in _KINDS, "kind of a network", f"one of {', '.join(_KINDS)}", kind)
    try:
        return _KINDS[kind](data, folder)
    except InvalidValueError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise InvalidValueError(f"a network's recipe is incomplete: {error!r}.") from error


_KINDS: Mapping[str, _Reader] = MappingProxyType(
    {
        "cut": lambda data, folder: CutRecipe(
            of=recipe_of(data["of"], folder), at=tuple(map(str, data["at"]))
        ),
        "factory": lambda data, _: FactoryRecipe(data["callable"], data["options"]),
        "graph": lambda data, _: GraphRecipe(NetworkSpec.from_json(data["network"])),
        "library": lambda data, _: LibraryRecipe(str(data["name"])),
        "transfer": lambda data, folder: TransferRecipe(
            of=recipe_of(data["of"], folder),
            features=int(data["features"]),
            findings=int(data["findings"]),
        ),
        "traced": lambda data, _: TracedRecipe(Program.from_json(data["program"])),
    }
)
