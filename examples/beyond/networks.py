"""The small networks of the seven scripts, where executors and bundles find them by name."""

import torch
from torch import Tensor, nn

from hilum.models import network_factory

__all__ = ["autoencoder", "forecaster", "perceptron", "reader", "translator", "volume_net"]


@network_factory
def autoencoder(narrow: int = 32) -> nn.Module:
    """Images (N, 1, 64, 64) through `narrow` numbers, and back."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * 16 * 16, narrow),
        nn.Linear(narrow, 16 * 16 * 16),
        nn.ReLU(),
        nn.Unflatten(1, (16, 16, 16)),
        nn.Upsample(scale_factor=2),
        nn.Conv2d(16, 8, 3, padding=1),
        nn.ReLU(),
        nn.Upsample(scale_factor=2),
        nn.Conv2d(8, 1, 3, padding=1),
    )


@network_factory
def forecaster(leads: int = 12, past: int = 50, ahead: int = 10, width: int = 64) -> nn.Module:
    """A perceptron from all leads of the past, (N, leads, past), to one lead ahead, (N, ahead)."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(leads * past, width),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(width, ahead),
    )


@network_factory
def perceptron(features: int, width: int = 32) -> nn.Module:
    """Numbers (N, features) to one logit."""
    return nn.Sequential(
        nn.BatchNorm1d(features), nn.Linear(features, width), nn.ReLU(), nn.Linear(width, 1)
    )


class Reader(nn.Module):
    """Words, and what stands around them, as evidence for each label: (N, words) to (N, labels)."""

    def __init__(self, words: int, labels: int, width: int) -> None:
        super().__init__()
        self.words = nn.Embedding(words, width, padding_idx=0)
        self.dropout = nn.Dropout(0.2)
        # "no pleural effusion" is three words.
        self.phrases = nn.Conv1d(width, 2 * width, 3, padding=1)
        self.last = nn.Linear(2 * width, labels)

    def forward(self, numbers: Tensor) -> Tensor:
        words = self.dropout(self.words(numbers)).transpose(1, 2)
        phrases: Tensor = torch.relu(self.phrases(words)).amax(dim=2)
        found: Tensor = self.last(self.dropout(phrases))
        return found


@network_factory
def reader(words: int, labels: int, width: int = 32) -> nn.Module:
    """A network over words."""
    return Reader(words, labels, width)


@network_factory
def volume_net(classes: int = 4, width: int = 8) -> nn.Module:
    """Volumes (N, 1, depth, height, width) to class logits (N, classes)."""
    return nn.Sequential(
        nn.Conv3d(1, width, (1, 5, 5), stride=(1, 2, 2)),
        nn.ReLU(),
        nn.Conv3d(width, 2 * width, 3, stride=(1, 2, 2)),
        nn.ReLU(),
        nn.AdaptiveAvgPool3d((2, 4, 4)),
        nn.Flatten(),
        nn.Linear(2 * width * 32, classes),
    )


class Translator(nn.Module):
    """Letters (N, letters) to one of `symbols` at each of `places`, as logits (N, symbols, places).

    Convolutions read; every place to write looks for its letters by attention.
    """

    def __init__(self, letters: int, symbols: int, places: int, width: int) -> None:
        super().__init__()
        self.letters = nn.Embedding(128, width)
        self.where = nn.Parameter(0.1 * torch.randn(letters, width))
        self.read = nn.ModuleList(nn.Conv1d(width, width, 5, padding=2) for _ in range(3))
        self.places = nn.Parameter(0.1 * torch.randn(places, width))
        self.look = nn.MultiheadAttention(width, 4, batch_first=True)
        self.write = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, symbols))

    def forward(self, codes: Tensor) -> Tensor:
        letters = self.letters(codes) + self.where
        for read in self.read:
            letters = letters + torch.relu(read(letters.transpose(1, 2)).transpose(1, 2))
        asked = self.places.expand(len(codes), -1, -1)
        seen, _ = self.look(asked, letters, letters, need_weights=False)
        written: Tensor = self.write(seen).transpose(1, 2)
        return written


@network_factory
def translator(letters: int = 20, symbols: int = 10, places: int = 8, width: int = 64) -> nn.Module:
    """A network from letters to symbols."""
    return Translator(letters, symbols, places, width)
