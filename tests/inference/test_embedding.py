"""The embedding is what the head reads: through the head it becomes the prediction."""

import numpy as np
import pytest
import torch

from hilum.inference import ModelBundle, Predictor, embed
from hilum.models import build_classifier, create_model, cut_before_head
from hilum.preprocessing import radiograph_chain
from image_files import picture

PICTURES = [picture(i, 30 + 3 * i, 50 - 2 * i) for i in range(5)]


@pytest.fixture(scope="module")
def bundle() -> ModelBundle:
    model, _ = build_classifier("timm:test_resnet", 3, weights="random", seed=0)
    return ModelBundle(
        architecture="timm:test_resnet",
        findings=("Mass", "Edema", "Hernia"),
        preprocessing=radiograph_chain(32, (0.5,) * 3, (0.25,) * 3),
        weights=model.state_dict(),
    )


def test_embeddings_through_the_head_are_the_predictions(bundle):
    predictor = Predictor.load(bundle, batch_size=2)
    features = embed(predictor, PICTURES)
    assert features.dtype == np.float32
    assert features.shape == (5, predictor.num_features)
    with torch.inference_mode():
        probabilities = torch.sigmoid(predictor.model[1](torch.from_numpy(features)))
    expected = np.stack(list(predictor.predict(PICTURES)))
    np.testing.assert_allclose(probabilities.numpy(), expected, atol=1e-6)


def test_a_bundle_serves_as_well_as_its_predictor(bundle):
    np.testing.assert_array_equal(embed(bundle, PICTURES), embed(Predictor.load(bundle), PICTURES))


def test_no_images_have_no_embedding_but_a_width(bundle):
    predictor = Predictor.load(bundle)
    assert embed(predictor, []).shape == (0, predictor.num_features)


@pytest.mark.parametrize(
    "name",
    [
        "resnet18",
        "densenet121",
        "googlenet",
        "inception_v3",
        "vgg16",
        "efficientnet_lite0",
        "timm:test_vit",
        "torchvision:mobilenet_v3_small",
    ],
)
def test_a_cut_network_computes_what_the_whole_one_does(name):
    model = create_model(name, 2, dropout=0.5).eval()
    with torch.no_grad():  # small numbers everywhere; create_model leaves zeros
        for parameter in model.parameters():
            flat = torch.linspace(-0.05, 0.06, parameter.numel())
            parameter.copy_(flat.reshape(parameter.shape))
    size = (160, 160) if name != "inception_v3" else (96, 128)
    images = torch.rand((2, 3, *size), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = model(images)
        cut = cut_before_head(model, name)
        features = cut[0](images)
        assert features.shape == (2, cut[1].in_features)
        torch.testing.assert_close(cut(images), expected)
    assert not cut.training
