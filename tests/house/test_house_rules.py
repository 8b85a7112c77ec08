"""Rules that ruff, mypy and the import contract cannot hold; CONTRIBUTING.md says why."""

import ast
import importlib
import inspect
import json
import os
import pkgutil
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import hilum
from heavy_files import SECONDS

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
SCRIPTS = sorted([*(ROOT / "scripts").glob("*.py"), *(ROOT / "benchmarks").glob("*.py")])

MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 60
GRAB_BAGS = {"util", "utils", "helper", "helpers", "common", "misc", "manager", "managers"}
HELP_LIMIT_S = 10.0  # 0.3 s alone on a machine; the rest is for whoever else computes there

Function = ast.FunctionDef | ast.AsyncFunctionDef


def test_no_module_is_longer_than_400_lines() -> None:
    sizes = {_name(path): len(_text(path).splitlines()) for path in [*SOURCES, *TESTS, *SCRIPTS]}
    assert {name: size for name, size in sizes.items() if size > MAX_MODULE_LINES} == {}


def test_no_function_is_longer_than_60_lines() -> None:
    """Counted below the signature: a command's options are data, not something to follow."""
    sizes = {
        f"{_name(path)}:{function.lineno} {function.name}": _body_lines(function)
        for path in [*SOURCES, *TESTS, *SCRIPTS]
        for function in _functions(_tree(path))
    }
    assert {name: size for name, size in sizes.items() if size > MAX_FUNCTION_LINES} == {}


def test_no_file_is_a_grab_bag() -> None:
    names = [path.relative_to(ROOT) for path in [*SOURCES, *TESTS, *SCRIPTS]]
    words = {str(name): set(re.split(r"[/_.]", str(name))) for name in names}
    assert [name for name, parts in words.items() if parts & GRAB_BAGS] == []


def test_files_that_start_first_are_there() -> None:
    missing = [name for name in SECONDS if not (ROOT / "tests" / name).exists()]
    assert missing == []


def test_the_library_never_prints() -> None:
    assert _calls(SOURCES, "print") == []


def test_nothing_is_unpickled() -> None:
    """A pickle from disk runs code; weights are safetensors, torch.load only reads tensors."""
    names = {"load", "loads", "Unpickler"}
    modules = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
    found = []
    for path in SOURCES:
        for node in ast.walk(_tree(path)):
            if isinstance(node, ast.ImportFrom) and node.module in modules:
                found += [f"{_name(path)}:{node.lineno}" for a in node.names if a.name in names]
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            module, _, function = called.rpartition(".")
            options = {option.arg: ast.unparse(option.value) for option in node.keywords}
            if (
                (module in modules and function in names)
                or (called == "torch.load" and options.get("weights_only") != "True")
                or (called in ("np.load", "numpy.load") and options.get("allow_pickle") != "False")
            ):
                found.append(f"{_name(path)}:{node.lineno} {called}")
    assert found == []


def test_a_to_do_names_its_issue() -> None:
    pattern = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME)\b(?!\(#\d+\))")
    found = [
        f"{_name(path)}:{number}"
        for path in [*SOURCES, *TESTS, *SCRIPTS]
        for number, line in enumerate(_text(path).splitlines(), start=1)
        if pattern.search(line)
    ]
    assert found == []


def test_our_own_code_is_not_mocked() -> None:
    imported = [
        f"{_name(path)}:{node.lineno}"
        for path in TESTS
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Import | ast.ImportFrom)
        and any("mock" in name for name in [*_imported_names(node)])
    ]
    assert imported == []


def test_code_is_written_in_ascii_punctuation() -> None:
    """Typographic quotes and dashes look like ASCII ones and are not found by searching."""
    wrong = re.compile("[\u2010-\u2015\u2018-\u201f\u2026\u00a0]")
    found = [_name(path) for path in [*SOURCES, *TESTS, *SCRIPTS] if wrong.search(_text(path))]
    assert found == []


def _modules() -> list[str]:
    names = [module.name for module in pkgutil.walk_packages(hilum.__path__, "hilum.")]
    return ["hilum", *names]


@pytest.mark.parametrize("name", _modules())
def test_public_names_exist_and_are_documented(name: str) -> None:
    module = importlib.import_module(name)
    assert (module.__doc__ or "").strip(), f"{name} has no docstring"
    public = getattr(module, "__all__", [])
    assert sorted(set(public)) == sorted(public), "a name twice in __all__"
    assert [entry for entry in public if not hasattr(module, entry)] == []
    assert sorted(_undocumented(module, public)) == []


def test_every_sub_package_says_what_is_public() -> None:
    packages = [
        module.name
        for module in pkgutil.iter_modules(hilum.__path__, "hilum.")
        # Their modules are the interface: one command each, one recipe each.
        if module.ispkg and module.name not in ("hilum.cli", "hilum.recipes")
    ]
    without = [n for n in packages if not getattr(importlib.import_module(n), "__all__", None)]
    assert without == []


def test_the_command_line_starts_without_torch_and_spark() -> None:
    loaded = _loaded_by("import hilum.cli.main")
    assert {"torch", "torchvision", "pyspark", "pandas", "sklearn", "matplotlib"} & loaded == set()


def test_help_answers_at_once() -> None:
    started = time.monotonic()
    code = "import sys; sys.argv[1:] = ['--help']; from hilum.cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "predict" in done.stdout
    assert time.monotonic() - started < HELP_LIMIT_S


def test_prediction_needs_neither_spark_nor_pictures() -> None:
    loaded = _loaded_by("import hilum.inference, hilum.decoding")
    assert {"pyspark", "pandas", "matplotlib", "torchvision", "timm"} & loaded == set()


def test_explaining_a_file_needs_no_spark() -> None:
    assert {"pyspark", "pandas", "captum"} & _loaded_by("import hilum.recipes.explain") == set()


def test_training_needs_no_spark() -> None:
    assert {"pyspark", "pandas", "matplotlib"} & _loaded_by("import hilum.training") == set()


def _loaded_by(statement: str) -> set[str]:
    """Top-level modules of a fresh interpreter after a statement."""
    code = f"import sys, json; {statement}; print(json.dumps(sorted(sys.modules)))"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    return {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


def _undocumented(module: ModuleType, public: list[str]) -> Iterator[str]:
    """Public functions, classes and methods without a docstring, own or inherited."""
    for name in public:
        value = getattr(module, name)
        if not (inspect.isclass(value) or inspect.isfunction(value)):
            continue
        # A dataclass without a docstring gets its signature as one.
        if not value.__doc__ or value.__doc__.startswith(f"{name}("):
            yield name
        if inspect.isclass(value):
            for member, method in vars(value).items():
                own = inspect.isfunction(method) or isinstance(method, property | classmethod)
                if own and not member.startswith("_") and not inspect.getdoc(method):
                    yield f"{name}.{member}"


def _body_lines(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.body[0].lineno + 1


def _functions(tree: ast.Module) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def _calls(paths: list[Path], name: str) -> list[str]:
    return [
        f"{_name(path)}:{node.lineno}"
        for path in paths
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == name
    ]


def _imported_names(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    if isinstance(node, ast.ImportFrom):
        yield node.module or ""
    yield from (alias.name for alias in node.names)


def _tree(path: Path) -> ast.Module:
    return ast.parse(_text(path), filename=str(path))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))
