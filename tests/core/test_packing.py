"""What travels to executors: an interpreter that runs where none is, and a zip that imports."""

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from hilum.errors import InvalidValueError
from hilum.packing import pack

SEE = """
import sys, ssl, sqlite3, importlib.metadata, hilum
print(sys.prefix, hilum.__file__, importlib.metadata.version("hilum"))
"""


def test_a_packed_interpreter_runs_where_it_is_unpacked_and_finds_its_own_hilum(tmp_path):
    packed = pack(tmp_path / "env.tar.gz", hilum_only=True)
    assert packed.packages == ("hilum 0.1.0",)
    folder = tmp_path / "elsewhere"
    with tarfile.open(tmp_path / "env.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    link = tmp_path / "environment"
    link.symlink_to(folder)  # as YARN does
    done = subprocess.run(
        [str(link / "bin/python"), "-c", SEE], env={}, capture_output=True, text=True, check=True
    )
    prefix, module, version = done.stdout.split()
    assert Path(prefix) == folder
    assert Path(module).is_relative_to(folder)
    assert version == "0.1.0"


def test_a_zip_holds_hilum_and_its_version(tmp_path):
    pack(tmp_path / "hilum.zip")
    done = subprocess.run(
        [sys.executable, "-S", "-c", SEE],  # -S: without what is installed here
        env={"PYTHONPATH": str(tmp_path / "hilum.zip")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"{tmp_path}/hilum.zip/hilum" in done.stdout


def test_whole_environments_hold_what_hilum_requires_and_not_pyspark():
    from hilum.packing import _closure

    names = _closure(["hilum"])
    assert {"torch", "numpy", "fsspec", "safetensors", "timm", "pandas"} <= set(names)
    assert not {"pyspark", "py4j", "pytest", "keras", "hilum"} & set(names)
    assert "pytest" in _closure(["hilum", "pytest"])


@pytest.mark.parametrize(
    ("name", "also", "said"),
    [
        ("env.rar", [], r"out must be a file of \.tar\.gz"),
        ("taken.zip", [], "out must be a file that does not exist"),
        ("env.tar.gz", ["nosuchpackage"], "package must be installed here. Got 'nosuchpackage'"),
    ],
)
def test_what_cannot_be_packed_is_refused_and_leaves_nothing(tmp_path, name, also, said):
    (tmp_path / "taken.zip").touch()
    with pytest.raises(InvalidValueError, match=said):
        pack(tmp_path / name, also)
    assert [path.name for path in tmp_path.iterdir()] == ["taken.zip"]
