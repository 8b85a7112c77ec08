"""torch.export programs and TorchScript become networks that compute the same, bit for bit."""

import io
import json
import pickle
import warnings
import zipfile

import pytest
import torch
from torch import nn

from hilum.errors import InvalidValueError
from hilum.models import architecture, load


class Net(nn.Module):
    """What image networks consist of, functions and modules, in place and not."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8))
        self.relu = nn.ReLU(inplace=True)
        self.same = nn.Conv2d(8, 8, 3, padding="same", groups=2)
        self.norm = nn.LayerNorm(8)
        self.scale = nn.Parameter(torch.rand(8, 1, 1))
        self.up = nn.ConvTranspose2d(8, 8, 2, 2)
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(8, 5)

    def forward(self, image):
        x = self.relu(self.stem(image))
        kept = x
        x = self.same(x)
        x += kept
        nn.functional.relu(x, inplace=True)
        x = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2) * self.scale
        left, right = x.chunk(2, 1)
        x = torch.cat([nn.functional.hardswish(left), nn.functional.gelu(right)], 1)
        x = nn.functional.max_pool2d(x, 3, 2, 1, ceil_mode=True)
        x = nn.functional.avg_pool2d(self.up(x), 2)
        x = torch.flatten(nn.functional.adaptive_avg_pool2d(x, 1), 1)
        return self.head(self.drop(x))


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Net().eval()


@pytest.fixture(scope="module")
def program(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "net.pt2"
    dynamic = ({0: torch.export.Dim("batch")},)
    torch.export.save(
        torch.export.export(network, (torch.randn(2, 3, 21, 19),), dynamic_shapes=dynamic),
        str(path),
    )
    return path


@pytest.fixture(scope="module")
def script(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("script") / "net.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(network, torch.randn(2, 3, 21, 19)), str(path))
    return path


def test_a_program_computes_what_the_module_did(network, program):
    model = load(program)
    images = torch.randn(3, 3, 21, 19)
    with torch.no_grad():
        assert torch.equal(model.network(images), network(images))
    assert {"stem/0", "stem/1", "head"} <= set(model.recipe.spec.names())
    assert model.pixels.size_px == (21, 19)


def test_a_program_is_cut_at_a_module(network, program):
    images = torch.randn(2, 3, 21, 19)
    model = load(program, outputs=["stem/1"])
    with torch.no_grad():
        assert torch.equal(model.network(images), network.stem(images))


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "torchvision:mobilenet_v3_small"])
def test_networks_of_torchvision_come_back_bit_for_bit(name, tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        original = architecture(name).build().eval()
    images = torch.randn(2, 3, 64, 64)
    torch.export.save(torch.export.export(original, (images,)), str(tmp_path / "net.pt2"))
    with torch.no_grad():
        assert torch.equal(load(tmp_path / "net.pt2").network(images), original(images))


def test_a_program_in_training_mode_is_refused(network, tmp_path):
    import copy

    training = copy.deepcopy(network).train()
    exported = torch.export.export(training, (torch.randn(2, 3, 21, 19),))
    torch.export.save(exported, str(tmp_path / "training.pt2"))
    with pytest.raises(InvalidValueError, match=r"evaluation mode|model\.eval"):
        load(tmp_path / "training.pt2")


def rewritten(path, target, change):
    """A copy of an archive in which members are replaced."""
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(target, "w") as copy:
        for name in archive.namelist():
            copy.writestr(name, change(name, archive.read(name)))
    return target


class Touch:
    """What a hostile pickle does: something, as soon as it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_sample_inputs_that_run_code_are_not_read(network, program, tmp_path):
    stream, touched = io.BytesIO(), tmp_path / "touched"
    pickle.dump(Touch(touched), stream)

    def change(name, data):
        return stream.getvalue() if "sample_inputs" in name else data

    model = load(rewritten(program, tmp_path / "hostile.pt2", change))
    assert not touched.exists()
    images = torch.randn(2, 3, 21, 19)
    with torch.no_grad():
        assert torch.equal(model.network(images), network(images))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("use_pickle", True, "pickled"),
        ("sizes", [{"as_int": 1 << 40}], "of sizes|inside the"),
        ("strides", [{"as_int": -1}], "of sizes"),
        ("storage_offset", {"as_int": 1 << 40}, "inside the"),
        ("dtype", 9, "of floats or integers"),
    ],
)
def test_weights_that_do_not_fit_are_refused(program, tmp_path, key, value, message):
    def change(name, data):
        if not name.endswith("weights_config.json"):
            return data
        config = json.loads(data)
        meta = config["config"]["stem.1.weight"]
        (meta if key in meta else meta["tensor_meta"])[key] = value
        return json.dumps(config).encode()

    with pytest.raises(InvalidValueError, match=message):
        load(rewritten(program, tmp_path / "changed.pt2", change))


def test_an_unknown_operator_is_named(program, tmp_path):
    def change(name, data):
        return data.replace(b"aten.hardswish.default", b"aten.frac.default")

    with pytest.raises(InvalidValueError, match="Got frac"):
        load(rewritten(program, tmp_path / "changed.pt2", change))


def test_torchscript_needs_trust(script):
    with pytest.raises(InvalidValueError, match="trust=True"):
        load(script)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_that_is_trusted_computes_the_same_and_leaves_no_script(network, script):
    model = load(script, trust=True)
    images = torch.randn(3, 3, 21, 19)
    with torch.no_grad():
        assert torch.equal(model.network(images), network(images))
    assert model.recipe.to_json()["kind"] == "graph", "a bundle of it is data, not a program"
