"""Grey radiographs in a network for colour pictures, without three copies of every pixel.

A network for RGB sees a grey image z as three channels that are affine in one another,
x_c = scale_c * z + shift_c, as each is normalised by a mean and a deviation of its own. Its first
convolution is linear, so

    sum_c W_c * x_c  =  (sum_c scale_c W_c) * z  +  (sum_c shift_c W_c) * 1

with one channel for z, and one of ones where any shift is not zero. The ones are a channel and not
a bias because of the borders: the network pads the *normalised* image with zeros, where neither z
nor the ones reach, so taps outside the image add nothing on either side. The sum is the same at
every pixel, borders included, and differs only by rounding.

The parameter stays the RGB kernel W; the sums are taken in each forward pass. So gradients,
weight decay, moments, checkpoints and bundles are those of the RGB network (decision 0025).
"""

import torch
from torch import Tensor, nn
from torch.func import functional_call

from hilum.errors import InvalidValueError
from hilum.models.splitting import trace

__all__ = ["GreyStem", "use_grey_stem"]

_RGB = 3


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
        """Convolve a grey batch (N, 1, H, W)."""
        if image.shape[1] != 1:
            raise InvalidValueError(f"images must have 1 channel. Got {image.shape[1]}.")
        mixing: Tensor = self.get_buffer("mixing")
        weight = torch.einsum("mc,ochw->omhw", mixing, self.weight)
        if len(mixing) > 1:
            image = _with_ones(image)
        tensors = {"weight": _channels_last(weight)}
        if self.bias is not None:
            tensors["bias"] = self.bias
        output: Tensor = functional_call(self._convolution[0], tensors, (_channels_last(image),))
        return output


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
    users = list(image.users)
    if len(users) != 1 or users[0].op != "call_module" or users[0].args[:1] != (image,):
        return False
    path = str(users[0].target)
    first = model.get_submodule(path)
    if not isinstance(first, nn.Conv2d) or first.in_channels != _RGB or first.groups != 1:
        return False
    if first.padding_mode != "zeros":
        return False
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, GreyStem(first, scale, shift))
    return True


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
