"""Networks that a function of the user's makes: found by name, never pickled (decision 0039)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from torch import nn

from hilum.errors import require
from hilum.marking import Purpose, is_function_name, plain_options
from hilum.models.initialisation import random_parameters_zero

__all__ = ["FactoryRecipe", "factory", "is_factory_name", "network_factory"]

Factory = TypeVar("Factory", bound=Callable[..., nn.Module])

_LIBRARIES = ("timm", "torchvision")  # whose names look the same, "timm:resnet18"
_NETWORKS = Purpose(
    mark="__hilum_network_factory__",
    decorator="@hilum.models.network_factory",
    parameter="model",
    does="returns the network",
)


def network_factory(function: Factory) -> Factory:
    """Mark a function of a module as one that bundles and runs may call by its name.

    It takes plain values (numbers, texts, lists) and returns a network that maps (N, C, H, W) to
    (N, anything) and ends in a linear layer, which gives way to the new head. The same options must
    give tensors of the same names and shapes.

        @network_factory
        def small_net(width: int = 8) -> nn.Module: ...
    """
    setattr(function, _NETWORKS.mark, True)
    return function


def is_factory_name(text: str) -> bool:
    """Whether a text has the form package.module:function, and is no network of a library."""
    return is_function_name(text) and text.partition(":")[0] not in _LIBRARIES


def factory(function: Callable[..., nn.Module] | str, **options: Any) -> "FactoryRecipe":
    """Return the recipe of what a marked function makes with these options.

    Args:
        function: the function, or its name "package.module:function".

    Raises:
        InvalidValueError: nobody else could find the function, or it is not marked.
        MissingDependencyError: its module cannot be imported here.
    """
    if isinstance(function, str):
        recipe = FactoryRecipe(function, options)
        recipe.function()
        return recipe
    return FactoryRecipe(_NETWORKS.name_of(function), options)


@dataclass(frozen=True, slots=True)
class FactoryRecipe:
    """A network that a function makes.

    Attributes:
        callable: "package.module:function", importable on driver and executors.
        options: its keyword arguments: plain JSON values.

    Raises:
        InvalidValueError: not such a name, or options that JSON cannot hold.
    """

    callable: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _NETWORKS.check_name(self.callable)
        plain = plain_options(self.callable, self.options)
        object.__setattr__(self, "options", MappingProxyType(plain))

    def __reduce__(self) -> Any:
        return (FactoryRecipe, (self.callable, dict(self.options)))

    def function(self) -> Callable[..., nn.Module]:
        """Import the function.

        Raises:
            MissingDependencyError: it is not on the Python path.
            InvalidValueError: it is not marked with `network_factory`.
        """
        return _NETWORKS.find(self.callable)

    def build_random(self) -> nn.Module:
        """Return the network as the function makes it.

        Raises:
            InvalidValueError: the function returns something else.
        """
        network = self.function()(**self.options)
        require(
            isinstance(network, nn.Module),
            f"what {self.callable} returns",
            "a torch.nn.Module",
            type(network).__name__,
        )
        return network

    def build(self) -> nn.Module:
        """Return the network, its parameters zero."""
        with random_parameters_zero():
            return self.build_random()

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"kind": "factory", "callable": self.callable, "options": dict(self.options)}

    def files(self) -> Mapping[str, Path]:
        """None."""
        return {}
