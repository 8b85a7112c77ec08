"""Protobuf's text format, as Caffe's prototxt files have it: a tree of names and values.

No schema: what a field means, the reader of the tree knows. The grammar is that of
protobuf.dev/reference/protobuf/textformat-spec, without extensions.
"""

import re
from collections.abc import Callable
from typing import TypeVar

from hilum.errors import InvalidValueError, require

__all__ = ["Tree", "read_tree"]

MAX_TOKENS = 2_000_000
_TOKEN = re.compile(
    r"""(?P<blank>\s+|\#[^\n]*)
      | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<word>[A-Za-z0-9_.+\-]+)
      | (?P<sign>[{}<>\[\]:,;])""",
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(.)")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}
_CLOSES = {"{": "}", "<": ">"}
_SEPARATES = (",", ";")

Number = TypeVar("Number", int, float)


class Tree:
    """One message: what stands behind each name, in the order of the file."""

    def __init__(self) -> None:
        self._fields: dict[str, list[str | Tree]] = {}

    def append(self, name: str, value: "str | Tree") -> None:
        """Add a value of a field."""
        self._fields.setdefault(name, []).append(value)

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    def trees(self, name: str) -> list["Tree"]:
        """Messages of this name."""
        return [value for value in self._fields.get(name, []) if isinstance(value, Tree)]

    def tree(self, name: str) -> "Tree":
        """The message of this name, the last where there are several, an empty one if none."""
        return (self.trees(name) or [Tree()])[-1]

    def texts(self, name: str) -> list[str]:
        """Strings, words and numbers of this name."""
        return [value for value in self._fields.get(name, []) if isinstance(value, str)]

    def text(self, name: str, default: str = "") -> str:
        """The value of this name, the last where there are several."""
        return (self.texts(name) or [default])[-1]

    def integers(self, name: str) -> list[int]:
        """Integers of this name.

        Raises:
            InvalidValueError: something else stands there, or a number beyond 63 bits.
        """
        return [_number(name, text, lambda word: int(word, 0)) for text in self.texts(name)]

    def integer(self, name: str, default: int) -> int:
        """The integer of this name."""
        return (self.integers(name) or [default])[-1]

    def real(self, name: str, default: float) -> float:
        """The number of this name."""
        return self.reals(name)[-1] if name in self else default

    def reals(self, name: str) -> list[float]:
        """Numbers of this name; a trailing f, as in 0.1f, is allowed."""
        return [
            _number(name, text, lambda word: float(word.removesuffix("f").removesuffix("F")))
            for text in self.texts(name)
        ]

    def flag(self, name: str, default: bool) -> bool:
        """The truth value of this name."""
        word = self.text(name, str(default)).lower()
        require(word in _FLAGS, name, "true or false", word)
        return _FLAGS[word]


_FLAGS = {"true": True, "false": False, "t": True, "f": False, "1": True, "0": False}


def _number(name: str, text: str, convert: Callable[[str], Number]) -> Number:
    try:
        value = convert(text[:100])
    except ValueError as error:
        raise InvalidValueError(f"{name} must be a number. Got {text[:100]!r}.") from error
    require(-(2.0**63) < value < 2.0**63, name, "a number of 63 bits", text[:100])
    return value


def read_tree(text: str, what: str) -> Tree:
    """Read a text.

    Args:
        text: the file.
        what: for errors: "a Caffe definition".

    Raises:
        InvalidValueError: not in the text format; the message says in which line.
    """
    root = Tree()
    tokens = _Tokens(text, what)
    open_trees: list[tuple[Tree, str]] = [(root, "")]  # and what closes each: no recursion
    while (token := tokens.next()) is not None:
        tree, close = open_trees[-1]
        if token in _SEPARATES:
            continue
        if token == close:
            open_trees.pop()
            continue
        if not _is_word(token):
            raise tokens.error(token)
        opened = _read_field(tokens, tree, token)
        if opened is not None:
            open_trees.append(opened)
    if len(open_trees) > 1:
        raise tokens.error(None)
    return root


def _read_field(tokens: "_Tokens", tree: Tree, name: str) -> tuple[Tree, str] | None:
    """Read what stands behind a name; of a message only its beginning, which is returned."""
    value = tokens.next()
    if value == ":":
        value = tokens.next()
    if value in _CLOSES:
        inner = Tree()
        tree.append(name, inner)
        return inner, _CLOSES[str(value)]
    if value == "[":
        _read_list(tokens, tree, name)
    elif value is not None and (_is_word(value) or value[0] in "\"'"):
        tree.append(name, tokens.plain(value))
    else:
        raise tokens.error(value)
    return None


def _read_list(tokens: "_Tokens", tree: Tree, name: str) -> None:
    while (value := tokens.next()) != "]":
        if value is None or value in ("{", "}", "<", ">", "[", ":"):
            raise tokens.error(value)
        if value not in _SEPARATES:
            tree.append(name, tokens.plain(value))


def _is_word(token: str) -> bool:
    return token[0].isalnum() or token[0] in "_.+-"


class _Tokens:
    def __init__(self, text: str, what: str) -> None:
        self._text, self._what, self._position, self._left = text, what, 0, MAX_TOKENS

    def next(self) -> str | None:
        """The next token, None at the end; strings with their quotes."""
        while self._position < len(self._text):
            self._left -= 1
            found = _TOKEN.match(self._text, self._position)
            if found is None or self._left < 0:
                raise self.error(self._text[self._position : self._position + 20])
            self._position = found.end()
            if found.lastgroup != "blank":
                return found.group()
        return None

    def plain(self, token: str) -> str:
        """A token without its quotes."""
        if token[0] not in "\"'":
            return token
        return _ESCAPE.sub(lambda found: _ESCAPES.get(found[1], found[1]), token[1:-1])

    def error(self, token: str | None) -> InvalidValueError:
        line = self._text.count("\n", 0, self._position) + 1
        found = "the end of the file" if token is None else repr(token)
        return InvalidValueError(
            f"{self._what} must be in protobuf's text format. Got {found} in line {line}. "
            "Hint: it is truncated, damaged, or of another format."
        )
