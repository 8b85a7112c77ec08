"""Tensors as the bytes of a safetensors file, without copying them.

safetensors' own writer holds Python's global lock for the whole file and copies it twice. A
checkpoint is written beside training, on the cores that train: there these 0.4 s of ResNet-50's
checkpoint (283 MB) are steps that wait. Its reader reads what is written here.

Source: the format's description in the README of huggingface/safetensors.
"""

import json
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from hilum.errors import require

__all__ = ["tensor_pieces"]

_TYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_ALIGNMENT = 8


def tensor_pieces(tensors: Mapping[str, Tensor]) -> Iterator[memoryview]:
    """Yield a safetensors file of named tensors, piece by piece; the tensors must not change.

    Args:
        tensors: contiguous, on the CPU.

    Raises:
        InvalidValueError: a tensor that is not contiguous, or of a type the format has not.
    """
    header: dict[str, dict[str, object]] = {}
    # The widest first, so that every tensor begins at a multiple of its width.
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    end = 0
    for name in names:
        tensor = tensors[name]
        require(tensor.dtype in _TYPES, f"tensor {name!r}", "of a type for files", tensor.dtype)
        require(tensor.is_contiguous(), f"tensor {name!r}", "contiguous", tensor.stride())
        start, end = end, end + tensor.nbytes
        header[name] = {
            "dtype": _TYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    yield memoryview(len(text).to_bytes(8, "little") + text)
    for name in names:
        if tensors[name].numel():
            yield tensors[name].detach().reshape(-1).view(torch.uint8).numpy().data
