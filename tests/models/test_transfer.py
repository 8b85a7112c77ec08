import copy

import pytest
import safetensors.torch
import torch
from torch import nn

from hilum.errors import InvalidValueError, MissingDependencyError
from hilum.models import Architecture, architecture, build_classifier, create_model, head_names


def same(model, other):
    pairs = zip(model.state_dict().items(), other.state_dict().items(), strict=True)
    return all(name == theirs and torch.equal(a, b) for (name, a), (theirs, b) in pairs)


@pytest.fixture(scope="module")
def trained():
    return build_classifier("resnet18", 4, weights="random", seed=1)[0]


def test_the_seed_decides_the_random_start(trained):
    assert same(build_classifier("resnet18", 4, weights="random", seed=1)[0], trained)
    other = build_classifier("resnet18", 4, weights="random", seed=2)[0]
    assert not torch.equal(other.conv1.weight, trained.conv1.weight)
    assert not torch.equal(other.fc[1].weight, trained.fc[1].weight)


@pytest.mark.parametrize("weights", ["random", "published"])
def test_the_global_generator_is_left_as_it_was(weights):
    before = torch.get_rng_state()
    build_classifier("efficientnet_lite0", 4, weights=weights, seed=1)
    create_model("efficientnet_lite0", 4)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_global_generator_does_not_decide_anything(trained):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(99)
        assert same(build_classifier("resnet18", 4, weights="random", seed=1)[0], trained)


def test_a_new_head_starts_without_bias_and_with_small_weights(trained):
    weight, bias = (trained.get_parameter(name) for name in head_names("resnet18"))
    assert (bias == 0).all()
    assert 0 < weight.abs().max() <= (6 / (512 + 4)) ** 0.5  # Glorot & Bengio 2010, eq. 16


def test_the_published_backbone_is_not_a_random_one():
    published, report = build_classifier("efficientnet_lite0", 4, weights="published")
    random, nothing = build_classifier("efficientnet_lite0", 4, weights="random")
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = [m.eval().forward_features(images) for m in (published, random)]
    assert not torch.allclose(*features, atol=0.1)
    assert torch.equal(published.classifier[1].weight, random.classifier[1].weight)
    assert report.kind == "published"
    assert (nothing.kind, nothing.loaded, nothing.sha256, nothing.note) == ("random", 0, "", "")


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_a_file_of_the_same_network_is_loaded_whole(trained, tmp_path, suffix):
    file = tmp_path / f"net{suffix}"
    save = safetensors.torch.save_file if suffix == ".safetensors" else torch.save
    save(trained.state_dict(), file)
    for path in (file, str(file)):
        model, report = build_classifier("resnet18", 4, weights=path, seed=9)
        assert same(model, trained)
        assert (report.kind, report.source, report.loaded) == ("file", str(file), 122)
        assert (report.missing, report.unexpected, report.mismatched) == ((), (), ())


def test_a_head_for_other_findings_is_replaced_and_reported(trained, tmp_path):
    torch.save(trained.state_dict(), tmp_path / "net.pth")
    model, report = build_classifier("resnet18", 9, weights=tmp_path / "net.pth", seed=9)
    assert model.fc[1].weight.shape == (9, 512)
    assert torch.equal(model.conv1.weight, trained.conv1.weight)
    assert report.mismatched == head_names("resnet18")
    assert report.loaded == 120
    fresh, _ = build_classifier("resnet18", 9, weights="random", seed=9)
    assert torch.equal(model.fc[1].weight, fresh.fc[1].weight)


def test_wrapped_and_distributed_checkpoints_are_understood(trained, tmp_path):
    wrapped = {f"module.{name}": tensor for name, tensor in trained.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": wrapped}, tmp_path / "net.pth")
    assert same(build_classifier("resnet18", 4, weights=tmp_path / "net.pth")[0], trained)


def test_torchvisions_old_densenet_names_are_understood(tmp_path):
    trained, _ = build_classifier("densenet121", 4, weights="random", seed=1)
    old = {}
    for name, tensor in trained.state_dict().items():
        for layer in ("norm", "conv"):
            for number in "12":
                if "denselayer" in name:
                    name = name.replace(f".{layer}{number}.", f".{layer}.{number}.")
        if not name.endswith("num_batches_tracked"):
            old[name.replace("classifier.1.", "classifier.")] = tensor
    torch.save(old, tmp_path / "densenet.pth")
    model, report = build_classifier("densenet121", 4, weights=tmp_path / "densenet.pth")
    trained.classifier = model.classifier
    assert same(model, trained)
    assert report.unexpected == ("classifier.weight", "classifier.bias")
    counters = {name for name in report.missing if name.endswith("num_batches_tracked")}
    assert set(report.missing) - counters == set(head_names("densenet121"))


def test_tensors_without_a_place_are_reported(trained, tmp_path):
    torch.save({**trained.state_dict(), "projector.weight": torch.zeros(3)}, tmp_path / "net.pth")
    _, report = build_classifier("resnet18", 4, weights=tmp_path / "net.pth")
    assert report.unexpected == ("projector.weight",)


def test_a_file_with_a_gap_in_the_backbone_is_refused(trained, tmp_path):
    tensors = dict(trained.state_dict())
    del tensors["conv1.weight"]
    tensors["bn1.weight"] = torch.zeros(3)
    torch.save(tensors, tmp_path / "net.pth")
    message = r"1 absent \(conv1.weight\), 1 of another shape \(bn1.weight\)"
    with pytest.raises(InvalidValueError, match=message):
        build_classifier("resnet18", 4, weights=tmp_path / "net.pth")


def test_a_file_of_another_network_is_refused(trained, tmp_path):
    torch.save(trained.state_dict(), tmp_path / "net.pth")
    with pytest.raises(InvalidValueError, match="is it a file of this architecture"):
        build_classifier("densenet121", 4, weights=tmp_path / "net.pth")


class Harmful:
    """Something a weights file must not be able to make."""


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("pickled.pth", Harmful()),
        ("list.pth", [torch.zeros(3)]),
        ("numbers.pth", {"conv1.weight": 1.0}),
        ("empty.pth", {}),
        ("text.pth", None),
        ("text.safetensors", None),
    ],
)
def test_what_is_no_table_of_tensors_is_refused(tmp_path, name, content):
    file = tmp_path / name
    file.write_text("no tensors here\n") if content is None else torch.save(content, file)
    with pytest.raises(InvalidValueError, match="weights must be a"):
        build_classifier("resnet18", 4, weights=file)


@pytest.mark.parametrize("weights", ["imagenet", "/nowhere/net.pth"])
def test_weights_that_are_neither_a_choice_nor_a_file_are_refused(weights):
    with pytest.raises(InvalidValueError, match="'auto', 'published', 'random' or an existing"):
        build_classifier("resnet18", 4, weights=weights)


def test_a_file_of_an_unknown_kind_is_refused(tmp_path):
    (tmp_path / "net.h5").write_bytes(b"HDF")
    with pytest.raises(InvalidValueError, match=r"\.pth, \.pt, \.safetensors"):
        build_classifier("resnet18", 4, weights=tmp_path / "net.h5")


@pytest.mark.parametrize(("num_outputs", "dropout"), [(0, 0.2), (4, 1.0), (4, -0.1)])
def test_impossible_heads_are_refused(num_outputs, dropout):
    with pytest.raises(InvalidValueError, match="must be at least"):
        build_classifier("resnet18", num_outputs, weights="random", dropout=dropout)


def test_a_network_of_ones_own_can_be_trained_but_has_no_published_weights():
    def build():
        return nn.Sequential(nn.Flatten(), nn.Linear(12, 6), nn.ReLU(), nn.Linear(6, 1000))

    own = Architecture(name="own", build=build, head="3")
    model, _ = build_classifier(own, 2, weights="random")
    assert model(torch.zeros(5, 3, 2, 2)).shape == (5, 2)
    with pytest.raises(MissingDependencyError, match="Nobody publishes"):
        build_classifier(own, 2, weights="published")
    with pytest.raises(InvalidValueError, match="layer '2' is linear"):
        create_model(Architecture(name="own", build=build, head="2"), 2)


def test_building_an_empty_network_leaves_its_buffers_right():
    model = create_model("resnet18", 4)
    assert (model.bn1.running_var == 1).all()
    assert (model.bn1.weight == 1).all()
    assert (model.conv1.weight == 0).all()


def test_a_network_can_be_copied_to_another_process_by_its_state(trained):
    state = copy.deepcopy(trained.state_dict())
    other = create_model(architecture("resnet18"), 4)
    assert other.load_state_dict(state).missing_keys == []
