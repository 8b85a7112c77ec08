"""Encoders: from one text to whole numbers of a fixed shape, as values that can be stored."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from hilum.errors import InvalidValueError, require

__all__ = ["TextEncoder", "WordEncoder", "encoder_from_json", "encoder_to_json"]

PAD, UNKNOWN = 0, 1
_WORD = re.compile(r"\w+")


class TextEncoder(Protocol):
    """Turns a text into numbers; the same ones wherever it runs."""

    @property
    def length(self) -> int:
        """How many numbers every text becomes."""
        ...

    def encode(self, text: str) -> npt.NDArray[np.int64]:
        """Numbers (length,) int64 of one text."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Plain data with a "kind"."""
        ...


@dataclass(frozen=True)
class WordEncoder:
    """Words as numbers: 0 pads, 1 is a word that is not in the vocabulary, 2 the first that is.

    A text of more words is cut at its end, a shorter one filled with 0.

    Attributes:
        vocabulary: words, each once; an embedding needs `size` rows.
        length: numbers per text.
        lower: compare words in lower case.
    """

    vocabulary: tuple[str, ...]
    length: int
    lower: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "vocabulary", tuple(self.vocabulary))
        require(self.length > 0, "length", "positive", self.length)
        distinct = len(set(self.vocabulary)) == len(self.vocabulary)
        require(distinct, "vocabulary", "words that occur once each", len(self.vocabulary))

    @staticmethod
    def fit(
        texts: Iterable[str], *, length: int, max_words: int = 20_000, lower: bool = True
    ) -> "WordEncoder":
        """An encoder of the most frequent words; of those as frequent, the first by alphabet."""
        require(max_words > 0, "max_words", "positive", max_words)
        counts = Counter(word for text in texts for word in _words(text, lower=lower))
        ordered = sorted(counts, key=lambda word: (-counts[word], word))
        return WordEncoder(tuple(ordered[:max_words]), length, lower)

    @property
    def size(self) -> int:
        """Numbers that can occur: 0 to `size` - 1."""
        return len(self.vocabulary) + 2

    def encode(self, text: str) -> npt.NDArray[np.int64]:
        """Numbers (length,) int64 of one text."""
        numbers = np.full(self.length, PAD, dtype=np.int64)
        words = _words(text, lower=self.lower)[: self.length]
        numbers[: len(words)] = [self._numbers.get(word, UNKNOWN) for word in words]
        return numbers

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "kind": "words",
            "vocabulary": list(self.vocabulary),
            "length": self.length,
            "lower": self.lower,
        }

    @cached_property
    def _numbers(self) -> Mapping[str, int]:
        return {word: number for number, word in enumerate(self.vocabulary, start=UNKNOWN + 1)}


def _words(text: str, *, lower: bool) -> list[str]:
    return _WORD.findall(text.lower() if lower else text)


def encoder_to_json(encoder: TextEncoder) -> dict[str, Any]:
    """An encoder as plain data."""
    return encoder.to_json()


def encoder_from_json(data: Mapping[str, Any]) -> TextEncoder:
    """The inverse of `encoder_to_json`.

    Raises:
        InvalidValueError: not an encoder, or of a kind this version does not know.
    """
    require(data.get("kind") == "words", "kind of an encoder", "words", data.get("kind"))
    try:
        return WordEncoder(
            tuple(map(str, data["vocabulary"])), int(data["length"]), bool(data["lower"])
        )
    except (KeyError, TypeError) as error:
        raise InvalidValueError(f"the stored encoder is incomplete: {error!r}.") from error
