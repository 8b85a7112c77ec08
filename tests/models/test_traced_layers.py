"""Every layer of torch.nn, and networks of torchvision and timm, are taken as instances."""

import pytest
import timm
import torch
import torchvision
from torch import nn

from hilum.errors import InvalidValueError
from hilum.models.traced import trace_instance
from rebuilt import check_rebuilt

IMAGES = (2, 4, 8, 8)
ROWS = (3, 4)
SEQUENCE = (2, 5, 8)


class OnTwo(nn.Module):
    """A layer with two arguments."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, one, other):
        return self.layer(one, other)


class Attending(nn.Module):
    """Attention with a mask of the padding, positions that are not saved, and a learnt token."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(20, 8, padding_idx=0)
        self.register_buffer("places", torch.randn(1, 6, 8), persistent=False)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.attention = nn.MultiheadAttention(8, 2, dropout=0.1, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, words):
        found = self.words(words) + self.places[:, : words.size(1)]
        asked = self.token.expand(words.shape[0], -1, -1)
        seen, weights = self.attention(asked, found, found, key_padding_mask=words == 0)
        return self.head(seen[:, 0]), weights


class Unpooling(nn.Module):
    def __init__(self):
        super().__init__()
        self.down, self.up = nn.MaxPool2d(2, return_indices=True), nn.MaxUnpool2d(2)

    def forward(self, images):
        value, places = self.down(images)
        return self.up(value, places)


def encoder(**options):
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, **options)
    return nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(8), enable_nested_tensor=False)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.TransformerEncoderLayer(8, 2, 16), SEQUENCE),
        (nn.TransformerEncoderLayer(8, 2, 16, norm_first=True, activation="gelu"), SEQUENCE),
        (nn.TransformerEncoderLayer(8, 2, 16, activation=nn.SiLU(), bias=False), SEQUENCE),
        (encoder(), SEQUENCE),
        (encoder(dropout=0.3, norm_first=True), SEQUENCE),
        (nn.BatchNorm2d(4, momentum=None), IMAGES),
        (nn.BatchNorm2d(4, affine=False, track_running_stats=False), IMAGES),
        (nn.GroupNorm(2, 4), IMAGES),
        (nn.InstanceNorm2d(4, affine=True, track_running_stats=True), IMAGES),
        (nn.LayerNorm((8, 8)), IMAGES),
        (nn.RMSNorm(8), IMAGES),
        (nn.LocalResponseNorm(2), IMAGES),
        (nn.RNN(8, 5, nonlinearity="relu"), SEQUENCE),
        (nn.LSTM(8, 5, 2, dropout=0.1, bidirectional=True), SEQUENCE),
        (nn.GRU(8, 5, batch_first=True), SEQUENCE),
        (nn.RNNCell(4, 5), ROWS),
        (nn.LSTMCell(4, 5), ROWS),
        (nn.GRUCell(4, 5), ROWS),
        (nn.PixelShuffle(2), IMAGES),
        (nn.PixelUnshuffle(2), IMAGES),
        (nn.ChannelShuffle(2), IMAGES),
        (nn.Unfold(3), IMAGES),
        (nn.Fold((8, 8), 3), (2, 36, 36)),
        (nn.Upsample(scale_factor=2), IMAGES),
        (nn.UpsamplingBilinear2d(scale_factor=2), IMAGES),
        (nn.UpsamplingNearest2d(size=9), IMAGES),
        (nn.FractionalMaxPool2d(2, output_size=3), IMAGES),
        (nn.LPPool2d(2, 2), IMAGES),
        (nn.AdaptiveMaxPool2d(2), IMAGES),
        (nn.RReLU(), IMAGES),
        (nn.Threshold(0.1, 20), IMAGES),
        (nn.PReLU(4), IMAGES),
        (nn.CircularPad2d(1), IMAGES),
        (nn.ConstantPad2d(1, 2.0), IMAGES),
        (nn.FeatureAlphaDropout(), IMAGES),
        (nn.Conv2d(4, 3, 3, padding="same", padding_mode="reflect", bias=False), IMAGES),
        (nn.ConvTranspose2d(4, 3, 3, stride=2, output_padding=1), IMAGES),
    ],
)
def test_a_layer_is_itself_when_it_was_built_again(layer, shape):
    check_rebuilt(layer, torch.randn(shape), single=True)


@pytest.mark.parametrize(
    ("network", "given"),
    [
        (OnTwo(nn.CosineSimilarity()), (torch.randn(3, 4), torch.randn(3, 4))),
        (OnTwo(nn.PairwiseDistance()), (torch.randn(3, 4), torch.randn(3, 4))),
        (OnTwo(nn.Bilinear(4, 4, 3)), (torch.randn(3, 4), torch.randn(3, 4))),
        (
            OnTwo(nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 16), 2)),
            (torch.randn(SEQUENCE), torch.randn(SEQUENCE)),
        ),
        (
            OnTwo(nn.Transformer(8, 2, 1, 1, 16, batch_first=True)),
            (torch.randn(SEQUENCE), torch.randn(SEQUENCE)),
        ),
        (Unpooling(), (torch.randn(IMAGES),)),
        (Attending(), (torch.randint(0, 20, (2, 6)),)),
    ],
)
def test_layers_of_several_tensors_are_themselves_when_they_were_built_again(network, given):
    check_rebuilt(network, *given)


def densenet():
    return torchvision.models.DenseNet(4, (2, 2), 8, drop_rate=0.2, num_classes=3)


def convnext():
    block = torchvision.models.convnext.CNBlockConfig
    settings = [block(8, 16, 1), block(16, None, 1)]
    return torchvision.models.ConvNeXt(settings, stochastic_depth_prob=0.5, num_classes=3)


def vision_transformer():
    return torchvision.models.VisionTransformer(
        32, 16, 2, 2, 16, 32, dropout=0.1, attention_dropout=0.1, num_classes=3
    )


def swin_transformer():
    return torchvision.models.SwinTransformer(
        [4, 4], 8, [2, 2], [2, 2], [4, 4], dropout=0.1, attention_dropout=0.1, num_classes=3
    )


def efficientnet():
    block = torchvision.models.efficientnet.MBConvConfig
    settings = [block(1, 3, 1, 8, 8, 1, 1.0, 1.0), block(4, 3, 1, 8, 8, 2, 1.0, 1.0)]
    return torchvision.models.EfficientNet(
        settings, 0.2, stochastic_depth_prob=0.5, num_classes=3, last_channel=16
    )


@pytest.mark.parametrize(
    "make", [densenet, convnext, vision_transformer, swin_transformer, efficientnet]
)
def test_networks_of_torchvision_are_themselves_when_they_were_built_again(make):
    check_rebuilt(make(), torch.randn(4, 3, 32, 32))


@pytest.mark.parametrize(
    ("name", "side", "options"),
    [
        ("tf_efficientnet_lite0", 32, {"drop_rate": 0.2, "drop_path_rate": 0.2}),
        ("test_efficientnet", 32, {}),
        (
            "vit_tiny_patch16_224",
            32,
            {"img_size": 32, "depth": 2, "attn_drop_rate": 0.1, "drop_path_rate": 0.1},
        ),
    ],
)
def test_networks_of_timm_are_themselves_when_they_were_built_again(name, side, options):
    network = timm.create_model(name, pretrained=False, num_classes=3, **options)
    check_rebuilt(network, torch.randn(4, 3, side, side))


@pytest.mark.parametrize(
    ("layer", "why"),
    [
        (nn.TransformerEncoderLayer(8, 2, activation=nn.functional.silu), "activation must be"),
        (nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)), "no layer that can be described"),
    ],
)
def test_a_layer_that_no_options_describe_is_refused(layer, why):
    with pytest.raises(InvalidValueError, match=f"{why}.*network_factory"):
        trace_instance(nn.Sequential(layer))


def test_a_layer_of_a_stack_that_was_changed_is_refused():
    stack = encoder()
    stack.layers[1].norm1.eps = 0.1
    with pytest.raises(InvalidValueError, match="it was changed after it was made"):
        trace_instance(stack)
