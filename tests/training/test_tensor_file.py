import pytest
import torch
from safetensors.torch import load

from hilum.errors import InvalidValueError
from hilum.training.tensor_file import tensor_pieces

TENSORS = {
    "weights": torch.randn(3, 2, 5),
    "größe": torch.tensor(7, dtype=torch.int64),
    "none": torch.zeros(0, 4),
    "half": torch.randn(3).bfloat16(),
    "small": torch.randn(1).half(),
    "mask": torch.tensor([True, False, True]),
    "bytes": torch.arange(5, dtype=torch.uint8),
    "double": torch.randn(2, dtype=torch.float64),
}


def test_safetensors_reads_the_file_and_finds_every_tensor():
    found = load(b"".join(tensor_pieces(TENSORS)))
    assert found.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


def test_nothing_is_copied():
    tensor = torch.zeros(4)
    _, piece = tensor_pieces({"a": tensor})
    tensor += 1
    assert bytes(piece) == tensor.numpy().tobytes()


@pytest.mark.parametrize(
    ("tensor", "message"),
    [(torch.zeros(2, 3).t(), "contiguous"), (torch.zeros(2, dtype=torch.complex64), "type")],
)
def test_what_the_format_cannot_hold_is_named(tensor, message):
    with pytest.raises(InvalidValueError, match=f"tensor 'x' must be .*{message}"):
        list(tensor_pieces({"x": tensor}))
