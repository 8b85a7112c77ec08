"""Embeddings are what the head is given, for every architecture."""

import numpy as np
import pytest
import torch

from hilum.inference import Embedder, ModelBundle, Predictor
from hilum.models import ARCHITECTURES, build_classifier, head_names
from hilum.preprocessing import radiograph_chain
from image_files import picture

PICTURES = [picture(i, 40 + i, 60 - i) for i in range(3)]
NAMES = [*sorted(set(ARCHITECTURES) - {"inception_v1"}), "timm:test_resnet", "timm:test_vit"]
NAMES += ["torchvision:mobilenet_v3_small"]


@pytest.mark.parametrize("name", NAMES)
def test_the_head_on_the_embedding_gives_the_prediction(name):
    side = {"inception_v3": 75, "timm:test_vit": 160}.get(name, 32)
    model, _ = build_classifier(name, 2, weights="random", seed=1)
    bundle = ModelBundle(
        architecture=name,
        findings=("Mass", "Edema"),
        preprocessing=radiograph_chain(side, (0.5,) * 3, (0.25,) * 3),
        weights=model.state_dict(),
    )
    features = torch.from_numpy(np.stack(list(Embedder.load(bundle, batch_size=2).embed(PICTURES))))
    weight, bias = (bundle.weights[entry] for entry in head_names(name))
    assert features.shape == (3, weight.shape[1])
    expected = np.stack(list(Predictor.load(bundle).predict(PICTURES)))
    found = torch.sigmoid(features @ weight.T + bias).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_no_images_give_no_embeddings():
    model, _ = build_classifier("timm:test_resnet", 2, weights="random", seed=1)
    bundle = ModelBundle(
        architecture="timm:test_resnet",
        findings=("Mass", "Edema"),
        preprocessing=radiograph_chain(32, (0.5,) * 3, (0.25,) * 3),
        weights=model.state_dict(),
    )
    assert list(Embedder.load(bundle).embed([])) == []
