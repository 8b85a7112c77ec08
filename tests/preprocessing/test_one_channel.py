"""The one-channel form of a chain gives the three channels back."""

import torch

from hilum.preprocessing import CenterCrop, Chain, ChannelNormalize, one_channel, radiograph_chain

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
GREY = torch.randint(
    0, 256, (2, 1, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)


def test_scale_and_shift_make_the_three_channels_of_the_one():
    chain = radiograph_chain(32, MEAN, STD, resize=40).suffix
    form = one_channel(chain)
    settings = {"seed": 1, "epoch": 2, "sample_ids": torch.tensor([5, 6])}
    grey = form.chain(GREY, **settings)
    assert grey.shape == (2, 1, 32, 32)
    scale, shift = (torch.tensor(v).view(3, 1, 1) for v in (form.scale, form.shift))
    torch.testing.assert_close(grey * scale + shift, chain(GREY, **settings))


def test_a_chain_that_does_not_end_in_three_equal_channels_has_no_such_form():
    assert one_channel(Chain((CenterCrop(32, 32), ChannelNormalize((0.5,), (0.5,))))) is None
    assert one_channel(Chain()) is None
