"""Grey radiographs in a network for colour pictures, without three copies of every pixel.

A network for RGB sees a grey image z as three channels that are affine in one another,
x_c = scale_c * z + shift_c, as each is normalised by a mean and a deviation of its own. Its first
convolution is linear, so

    sum_c W_c * x_c  =  (sum_c scale_c W_c) * z  +  (sum_c shift_c W_c) * 1

with one channel for z, and one of ones where any shift is not zero. The ones are a channel and not
a bias because of the borders: the network pads the *normalised* image with zeros, where neither z
nor the ones reach, so taps outside the image add nothing on either side. The sum is the same at
every pixel, borders included, and differs only by rounding. A layer that pads with zeros before
the convolution (files of TensorFlow have it) gets the ones, too. The order of the channels, RGB or
BGR, is that of the means and deviations.

The parameter stays the RGB kernel W; the sums are taken in each forward pass. So gradients,
weight decay, moments, checkpoints and bundles are those of the RGB network (decision 0025).
"""

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call

from hilum.errors import InvalidValueError
from hilum.models.graph.arithmetic import Pad
from hilum.models.splitting import trace

__all__ = ["GreyStem", "use_grey_stem"]

_RGB = 3
_SIDES = 2  # height and width


class GreyStem(nn.Module):
    """The first convolution of an RGB network, fed with one grey channel.

    Takes (N, 1, H, W) and returns what `convolution` makes of (N, 3, H, W) with channel c equal to
    scale[c] * z + shift[c]. Parameters are those of the convolution, under the same names.
    """

    def __init__(
        self, convolution: nn.Conv2d, scale: tuple[float, ...], shift: tuple[float, ...]
    ) -> None:
        super().__init__()
        self.weight, self.bias = convolution.weight, convolution.bias
        # Not a child, as its parameters would be listed twice; it still knows how to pad.
        self._convolution = (convolution,)
        mixing = [scale, shift] if any(shift) else [scale]
        self.register_buffer("mixing", torch.tensor(mixing), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Convolve a grey batch (N, 1, H, W), or with the ones that a pad in front has put in."""
        mixing: Tensor = self.get_buffer("mixing")
        if image.shape[1] not in (1, len(mixing)):
            raise InvalidValueError(f"images must have 1 channel. Got {image.shape[1]}.")
        weight = torch.einsum("mc,ochw->omhw", mixing, self.weight)
        if image.shape[1] < len(mixing):
            image = _with_ones(image)
        tensors = {"weight": _channels_last(weight)}
        if self.bias is not None:
            tensors["bias"] = self.bias
        output: Tensor = functional_call(self._convolution[0], tensors, (_channels_last(image),))
        return output


class _GreyPad(nn.Module):
    """A border of zeros around the grey image, and around the ones beside it."""

    def __init__(self, pad: Pad) -> None:
        super().__init__()
        self.pad = pad

    def forward(self, image: Tensor) -> Tensor:
        """Pad (N, 1, H, W) to (N, 2, H', W')."""
        padded: Tensor = self.pad(_with_ones(image))
        return padded


def use_grey_stem(model: nn.Module, scale: tuple[float, ...], shift: tuple[float, ...]) -> bool:
    """Let a network take (N, 1, H, W) instead of (N, 3, H, W), in place; names of tensors stay.

    Args:
        model: a network for RGB images.
        scale: the factor of each of the three channels: x_c = scale[c] * z + shift[c].
        shift: the term of each channel.

    Returns:
        False, and the network is as it was, where its images do not go into one plain convolution
        over three channels and nowhere else.
    """
    try:
        image = next(node for node in trace(model).nodes if node.op == "placeholder")
    except InvalidValueError:
        return False
    pad = _only_module(model, image, Pad)
    first = _only_module(model, image if pad is None else pad, nn.Conv2d)
    if first is None:
        return False
    convolution = model.get_submodule(str(first.target))
    if not isinstance(convolution, nn.Conv2d) or not _mixes_rgb(convolution):
        return False
    if pad is not None:
        border = model.get_submodule(str(pad.target))
        if not isinstance(border, Pad) or border.value != 0 or len(border.padding) > 2 * _SIDES:
            return False
        if any(shift):
            _replace(model, str(pad.target), _GreyPad(border))
    _replace(model, str(first.target), GreyStem(convolution, scale, shift))
    return True


def _mixes_rgb(convolution: nn.Conv2d) -> bool:
    return (
        convolution.in_channels == _RGB
        and convolution.groups == 1
        and convolution.padding_mode == "zeros"
    )


def _only_module(model: nn.Module, value: fx.Node, kind: type[nn.Module]) -> fx.Node | None:
    """The layer of this kind that a value goes into, if it goes nowhere else."""
    users = list(value.users)
    if len(users) != 1 or users[0].op != "call_module" or users[0].args[:1] != (value,):
        return None
    return users[0] if isinstance(model.get_submodule(str(users[0].target)), kind) else None


def _replace(model: nn.Module, path: str, layer: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, layer)


def _with_ones(image: Tensor) -> Tensor:
    pixels = image.new_ones((len(image), image.shape[2], image.shape[3], 2))
    pixels[..., 0] = image[:, 0]
    return pixels.permute(0, 3, 1, 2)


def _channels_last(tensor: Tensor) -> Tensor:
    """The same numbers with strides that say channels_last, also where there is one channel.

    With one channel torch takes any layout for contiguous and goes by the strides, whose usual
    form says otherwise; the convolution then costs about three times as much on a CPU.
    """
    _, channels, height, width = tensor.shape
    if channels > 1:
        return tensor.contiguous(memory_format=torch.channels_last)
    return tensor.contiguous().as_strided(tensor.shape, (height * width, 1, width, 1))
