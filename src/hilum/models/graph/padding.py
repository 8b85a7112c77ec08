"""Borders and pools whose width depends on the size of the image: "SAME" of TensorFlow and BigDL.

"SAME" means ceil(size / stride) outputs. The border that takes is split evenly; where it is odd,
the right and the lower edge get the larger part. PyTorch pads both edges alike.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["AveragePoolSame", "PadSame"]


class PadSame(nn.Module):
    """The border with which a convolution or pool without one gives ceil(size / stride) outputs.

    Args:
        kernel_size: height and width of what comes next.
        stride: likewise.
        dilation: likewise.
        value: of the border; minus infinity before a maximum.
    """

    def __init__(
        self,
        kernel_size: Sequence[int],
        stride: Sequence[int],
        dilation: Sequence[int] = (1, 1),
        value: float = 0.0,
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride = tuple(kernel_size), tuple(stride)
        self.dilation, self.value = tuple(dilation), value

    def forward(self, value: Tensor) -> Tensor:
        """Pad (N, C, H, W)."""
        border = _borders(value, self.kernel_size, self.stride, self.dilation)
        return functional.pad(value, border, value=self.value)


def _borders(
    value: Tensor, kernel_size: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> tuple[int, int, int, int]:
    parts = zip(value.shape[-2:], kernel_size, stride, dilation, strict=True)
    (top, bottom), (left, right) = (_border(*part) for part in parts)
    return left, right, top, bottom


def _border(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    outputs = -(-size // stride)
    total = max(0, (outputs - 1) * stride + (kernel - 1) * dilation + 1 - size)
    return total // 2, total - total // 2


class AveragePoolSame(nn.Module):
    """An average pool with ceil(size / stride) outputs that counts pixels of the image only.

    Args:
        kernel_size: height and width.
        stride: likewise.
    """

    def __init__(self, kernel_size: Sequence[int], stride: Sequence[int]) -> None:
        super().__init__()
        self.kernel_size, self.stride = tuple(kernel_size), tuple(stride)

    def forward(self, value: Tensor) -> Tensor:
        """Average (N, C, H, W)."""
        border = _borders(value, self.kernel_size, self.stride, (1, 1))
        total, share = (
            functional.avg_pool2d(functional.pad(part, border), self.kernel_size, self.stride)
            for part in (value, torch.ones_like(value[:1, :1]))
        )
        return total / share
