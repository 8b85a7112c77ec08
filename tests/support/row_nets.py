"""Tiny networks on rows that are no images."""

from threading import Thread

import torch
from torch import nn

from hilum.models import network_factory
from hilum.optim import loss_function


@network_factory
def line(features: int = 3, outputs: int = 1) -> nn.Module:
    """Linear regression."""
    return nn.Linear(features, outputs)


def others_wait() -> bool:
    """Whether other threads must wait now for their turn with networks on the driver."""
    from hilum.spark.driver_networks import one_at_a_time  # without Spark, nobody has to

    other = Thread(target=one_at_a_time(lambda: None), daemon=True)
    other.start()
    other.join(0.05)
    return other.is_alive()


WAITED: list[bool] = []
"""Of every `watched` network, whether others had to wait while it was built."""


@network_factory
def watched(outputs: int = 1) -> nn.Module:
    """Linear regression of three features."""
    WAITED.append(others_wait())
    return nn.Linear(3, outputs)


@loss_function
def worst(output, labels, power=1.0):
    """The largest error in a row."""
    return (output - labels).abs().amax(1) ** power


class TwoArguments(nn.Module):
    """A number beside a vector, and two outputs."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 5)
        self.first, self.second = nn.Linear(5, 1), nn.Linear(5, 2)

    def forward(self, vector, number):
        found = torch.tanh(self.body(torch.cat([vector, number], 1)))
        return self.first(found), self.second(found)


@network_factory
def two_arguments() -> nn.Module:
    return TwoArguments()


@network_factory
def narrow() -> nn.Module:
    """An autoencoder of three numbers through one."""
    return nn.Sequential(nn.Linear(3, 1), nn.Linear(1, 3))


class WordNet(nn.Module):
    """The mean of the words' embeddings."""

    def __init__(self, words):
        super().__init__()
        self.words = nn.EmbeddingBag(words, 4, padding_idx=0)
        self.last = nn.Linear(4, 1)

    def forward(self, numbers):
        return self.last(self.words(numbers))


@network_factory
def word_net(words: int = 20) -> nn.Module:
    return WordNet(words)


class ImageNumberText(nn.Module):
    """A grey image, a number and the words of a text."""

    def __init__(self, words):
        super().__init__()
        self.look = nn.Sequential(nn.Conv2d(1, 3, 3, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.words = nn.EmbeddingBag(words, 4, padding_idx=0)
        self.last = nn.Linear(8, 1)

    def forward(self, image, number, words):
        return self.last(torch.cat([self.look(image).flatten(1), number, self.words(words)], 1))


@network_factory
def image_number_text(words: int = 20) -> nn.Module:
    return ImageNumberText(words)


class Looking(nn.Module):
    """Three numbers as an image, whose channels are mixed and viewed as one vector."""

    def __init__(self):
        super().__init__()
        self.body, self.mix = nn.Conv2d(1, 4, (1, 2)), nn.Conv2d(4, 2, 1)
        self.first, self.second = nn.Linear(4, 1), nn.Linear(4, 2)

    def forward(self, vector):
        found = self.mix(torch.relu(self.body(vector.view(-1, 1, 1, 3)))).view(-1, 4)
        return {"one": self.first(found), "pair": self.second(found)}


@network_factory
def looking() -> nn.Module:
    return Looking()


class PlainTensors(nn.Module):
    """Tensors in no state dict, made before and while it runs; checks; types; places written."""

    def __init__(self):
        super().__init__()
        self.scale, self.head = torch.tensor([1.0, 2.0, 3.0, 4.0]), nn.LSTM(4, 2)
        self.register_buffer("shift", torch.ones(4, dtype=torch.bfloat16), persistent=False)

    def forward(self, x):
        assert x.shape[1] == 4, "rows of four"
        if not isinstance(x, torch.Tensor):
            x = x[0]
        moved = torch.zeros(x.shape[0], 4, dtype=x.dtype, device=x.device)
        moved[:, 1:] = x[:, :-1]
        found = self.head(moved * self.scale + torch.arange(4) + self.shift)
        return found[0] if isinstance(found, tuple) else found
