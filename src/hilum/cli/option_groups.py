"""Options that come in groups: a frozen dataclass with a field each, given to many commands."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from functools import wraps
from typing import Any

__all__ = ["with_options"]

Command = Callable[..., None]


def with_options(group: type[Any], name: str) -> Callable[[Command], Command]:
    """Give a command an option for every field of a dataclass; it takes them as one argument."""

    def decorate(command: Command) -> Command:
        signature = inspect.signature(command)
        own = [p for p in signature.parameters.values() if p.name != name]
        names = {option.name for option in fields(group)}

        @wraps(command)
        def typed(**arguments: Any) -> None:
            given = {key: value for key, value in arguments.items() if key in names}
            rest = {key: value for key, value in arguments.items() if key not in names}
            command(**rest, **{name: group(**given)})

        shared = [
            inspect.Parameter(
                option.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=_default(option),
                annotation=option.type,
            )
            for option in fields(group)
        ]
        keyword = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
        typed.__signature__ = inspect.Signature([*keyword, *shared])  # type: ignore[attr-defined]
        return typed

    return decorate


def _default(option: "Field[Any]") -> Any:
    return option.default if option.default_factory is MISSING else option.default_factory()
