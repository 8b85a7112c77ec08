"""Functions of the user's that stored files may name: marked, found by name, never pickled.

A function that a bundle or a run directory names is called with the options that stand there. So
not every function may be named: only one whose author marked it for that purpose, as otherwise a
crafted bundle could have `os.system` called (decision 0039).
"""

import importlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hilum.errors import InvalidValueError, MissingDependencyError, require

__all__ = ["Purpose", "is_function_name", "plain_options"]

_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def is_function_name(text: str) -> bool:
    """Whether a text has the form package.module:function."""
    return bool(_NAME.fullmatch(text))


@dataclass(frozen=True, slots=True, kw_only=True)
class Purpose:
    """What functions are marked for.

    Attributes:
        mark: attribute that the decorator sets.
        decorator: how users write it.
        parameter: what takes such a function, for errors.
        does: what it does, for errors.
    """

    mark: str
    decorator: str
    parameter: str
    does: str

    @property
    def way_out(self) -> str:
        """How a function becomes one that can be named."""
        return (
            f"put a function that {self.does} into a module of yours, mark it with "
            f"{self.decorator} and give it, or its name package.module:function"
        )

    def check_name(self, name: object) -> None:
        """Raise InvalidValueError unless others can import what has this name."""
        fits = isinstance(name, str) and is_function_name(name)
        by_name = fits and not str(name).startswith("__main__:")
        rule = "a function that others can import"
        require(by_name, self.parameter, rule, name, hint=self.way_out)

    def name_of(self, function: Callable[..., Any]) -> str:
        """The name of a function.

        Raises:
            InvalidValueError: nobody else could find it by its name, or it is not marked.
            MissingDependencyError: its module cannot be imported here.
        """
        module, name = getattr(function, "__module__", ""), getattr(function, "__qualname__", "")
        full = f"{module}:{name}"
        self.check_name(full)
        same = self.find(full) is function
        require(same, self.parameter, f"what {full} is", function, hint=self.way_out)
        return full

    def find(self, name: str) -> Callable[..., Any]:
        """Import the function.

        Raises:
            MissingDependencyError: it is not on the Python path.
            InvalidValueError: it is not marked.
        """
        module_name, _, own = name.partition(":")
        try:
            found = getattr(importlib.import_module(module_name), own)
        except (ImportError, AttributeError) as error:
            raise MissingDependencyError(
                f"{self.parameter} is {name}, which cannot be imported: {error}. "
                "Hint: its module must be on the Python path (PYTHONPATH), and executors need it, "
                "too: spark-submit --py-files my_networks.py, or "
                "spark.addArtifacts('my_networks.py', pyfile=True)."
            ) from error
        require(
            callable(found) and getattr(found, self.mark, False) is True,
            self.parameter,
            f"a function marked with {self.decorator}",
            name,
            hint=self.way_out,
        )
        made: Callable[..., Any] = found
        return made


def plain_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as JSON would give them back.

    Raises:
        InvalidValueError: JSON cannot hold them.
    """
    try:
        plain: dict[str, Any] = json.loads(json.dumps(dict(options), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InvalidValueError(
            f"options of {name} must be plain values that JSON can hold. Got {options!r}: {error}"
        ) from error
    return plain
