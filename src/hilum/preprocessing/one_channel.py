"""The one-channel form of a chain whose three channels are one grey image, each normalised."""

from dataclasses import dataclass

from hilum.preprocessing.chain import Chain
from hilum.preprocessing.geometry import GreyToRGB
from hilum.preprocessing.normalize import ChannelNormalize

__all__ = ["OneChannel", "one_channel"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OneChannel:
    """A chain to (1, H, W), and how the three channels of the original follow from it.

    Attributes:
        chain: the original with one mean and one deviation, those of green.
        scale, shift: channel c of the original is scale[c] * z + shift[c], z the one channel.
    """

    chain: Chain
    scale: tuple[float, ...]
    shift: tuple[float, ...]


def one_channel(chain: Chain) -> OneChannel | None:
    """Return the form of a chain that ends in GreyToRGB, ChannelNormalize; None for others."""
    *before, last_but_one, last = (None, None, *chain.steps)
    if not isinstance(last_but_one, GreyToRGB) or not isinstance(last, ChannelNormalize):
        return None
    mean, std = last.mean[1], last.std[1]
    steps = [step for step in before if step is not None]
    return OneChannel(
        chain=Chain((*steps, ChannelNormalize((mean,), (std,)))),
        scale=tuple(std / own for own in last.std),
        shift=tuple((mean - m) / own for m, own in zip(last.mean, last.std, strict=True)),
    )
