"""docs/reference says what the code does: pages are fresh, documented columns are the real ones."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from pyspark.sql import DataFrame, SparkSession

from hilum.spark import read_labels, read_radiographs

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    """scripts/reference.py as a module."""
    spec = importlib.util.spec_from_file_location("reference", ROOT / "scripts" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["reference"] = module
    spec.loader.exec_module(module)
    return module


def test_reference_pages_are_what_the_code_says(
    reference: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["reference.py", "--check"])
    assert reference.main() == 0, capsys.readouterr().out


def test_a_stale_page_fails_the_check_and_is_named(
    reference: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(reference, "FOLDER", tmp_path)
    monkeypatch.setattr(reference, "PAGES", {"reasons.md": reference.reasons_page})
    monkeypatch.setattr(sys, "argv", ["reference.py"])
    assert reference.main() == 0
    page = tmp_path / "reasons.md"
    page.write_text(page.read_text().replace("`truncated`", "`cut`"))
    monkeypatch.setattr(sys, "argv", ["reference.py", "--check"])
    capsys.readouterr()
    assert reference.main() == 1
    said = capsys.readouterr().out
    for words in ("-| `cut`", "+| `truncated`", "make docs"):
        assert words in said
    assert "`cut`" in page.read_text(), "--check changes nothing"


def test_pages_do_not_depend_on_the_terminal(
    reference: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = []
    for columns, term in (("40", "dumb"), ("200", "xterm-256color")):
        monkeypatch.setenv("COLUMNS", columns)
        monkeypatch.setenv("TERM", term)
        pages.append(reference.cli_page())
    assert pages[0] == pages[1]
    assert "\x1b" not in pages[0]


def test_documented_columns_are_those_of_the_readers(
    reference: ModuleType, spark: SparkSession, tmp_path: Path
) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("file_name,patient_id,findings\na.png,1,Mass\n")
    assert _types(read_radiographs(spark, str(tmp_path))) == {
        name: kind for name, (kind, _) in reference.RADIOGRAPH_COLUMNS.items()
    }
    assert _types(read_labels(spark, table)) == {
        name: kind for name, (kind, _) in reference.LABEL_COLUMNS.items()
    }


def _types(df: DataFrame) -> dict[str, str]:
    return {field.name: field.dataType.simpleString() for field in df.schema.fields}
