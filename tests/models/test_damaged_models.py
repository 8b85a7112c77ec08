"""Damaged and hostile model files: an error that names them, in bounded time and memory."""

import contextlib
import resource
import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from hilum.errors import HilumError
from hilum.models import load
from hilum.models.recipes import LoadedModel
from hilum.models.roads.archives import opened

MEMORY_BYTES = 512 << 20


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 2)

    def forward(self, image):
        x = torch.relu(self.norm(self.conv(image)))
        return self.head(torch.flatten(nn.functional.adaptive_avg_pool2d(x, 1), 1))


@pytest.fixture(scope="module")
def files(small_keras_folder, tmp_path_factory):
    """The folder of a small file of each format: its bytes would be printed with every failure."""
    folder = tmp_path_factory.mktemp("valid")
    images, net = torch.randn(2, 3, 8, 8), Net().eval()
    torch.export.save(torch.export.export(net, (images,)), str(folder / "net.pt2"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (images,), str(folder / "net.onnx"), external_data=False)
    torch.save(net.state_dict(), folder / "net.pth")
    (folder / "net.keras").write_bytes((small_keras_folder / "sequence.keras").read_bytes())
    return folder


def attempt(path: Path) -> None:
    """Load a file: a model or an error of ours, and nothing that takes much memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with contextlib.suppress(HilumError):
        assert isinstance(load(path, architecture="timm:test_resnet"), LoadedModel)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
    assert grown < MEMORY_BYTES


@st.composite
def damage(draw):
    """What to do to a file: cut it, flip bytes, repeat or drop a part."""
    where = st.floats(0, 1, exclude_max=True)
    kind = draw(st.sampled_from(["cut", "flip", "repeat", "drop"]))
    return kind, draw(where), draw(where), draw(st.lists(st.integers(0, 255), min_size=1))


def damaged(data: bytes, how) -> bytes:
    kind, first, second, values = how
    start, end = sorted((int(first * len(data)), int(second * len(data))))
    if kind == "cut":
        return data[:start]
    if kind == "repeat":
        return data[:end] + data[start:end][: 1 << 16] + data[end:]
    if kind == "drop":
        return data[:start] + data[min(end, start + len(values)) :]
    changed = bytearray(data)
    for number, value in enumerate(values):
        changed[(start + number * 37) % len(data)] = value
    return bytes(changed)


@pytest.mark.parametrize("suffix", [".onnx", ".pt2", ".pth"])
@settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(how=damage())
def test_damaged_files_give_a_model_or_an_error_of_ours(files, tmp_path, suffix, how):
    path = tmp_path / f"net{suffix}"
    path.write_bytes(damaged((files / f"net{suffix}").read_bytes(), how))
    attempt(path)


def member(data: bytes, path: Path, name: str, how) -> None:
    """A valid archive one member of which is damaged, checksums and all."""
    (path.parent / "whole.zip").write_bytes(data)
    with zipfile.ZipFile(path.parent / "whole.zip") as whole, zipfile.ZipFile(path, "w") as copy:
        for entry in whole.namelist():
            content = whole.read(entry)
            copy.writestr(entry, damaged(content, how) if entry.endswith(name) else content)


@pytest.mark.parametrize(
    ("suffix", "name"),
    [
        (".keras", "config.json"),
        (".pt2", "models/model.json"),
        (".pt2", "weights_config.json"),
    ],
)
@settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(how=damage())
def test_damaged_descriptions_give_a_model_or_an_error_of_ours(files, tmp_path, suffix, name, how):
    path = tmp_path / f"net{suffix}"
    member((files / f"net{suffix}").read_bytes(), path, name, how)
    attempt(path)


@pytest.mark.parametrize("cut", [0.1, 0.5, 0.9, 0.999])
def test_truncated_hdf5_is_an_error(small_keras_folder, tmp_path, cut):
    data = (small_keras_folder / "small.h5").read_bytes()
    path = tmp_path / "cut.h5"
    path.write_bytes(data[: int(cut * len(data))])
    with pytest.raises(HilumError):
        load(path)


def test_deeply_nested_json_is_an_error(files, tmp_path):
    path = tmp_path / "deep.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}")
        archive.writestr("model.weights.h5", b"")
    with pytest.raises(HilumError, match="JSON"):
        load(path)


def test_members_that_overlap_are_a_bomb(files, tmp_path):
    path = tmp_path / "overlap.zip"
    path.write_bytes((files / "net.pt2").read_bytes())
    with zipfile.ZipFile(path, "a") as archive:
        entry = archive.infolist()[-1]
        for number in range(20):
            twin = zipfile.ZipInfo(f"twin{number}")
            for name in ("header_offset", "CRC", "compress_size", "file_size", "compress_type"):
                setattr(twin, name, getattr(entry, name))
            twin.compress_size = twin.file_size = len((files / "net.pt2").read_bytes())
            archive.filelist.append(twin)
            archive.NameToInfo[twin.filename] = twin
        archive._didModify = True
    with pytest.raises(HilumError, match="overlap"), opened(path, "a model"):
        pass
