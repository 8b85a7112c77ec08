"""The data wrangling examples find in NIH's real table what their page says."""

import importlib
import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "wrangling"
PAGE = (ROOT / "docs" / "wrangling.md").read_text(encoding="utf-8")


@pytest.fixture
def find(spark, real_data, tmp_path, monkeypatch, capsys):
    """Run a script as from the command line, in the tests' session; return what it printed."""
    data = real_data / "nih-labels"
    if not data.is_dir():
        pytest.skip("HILUM_REAL_DATA has no nih-labels")
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])

    def run(name: str):
        module = importlib.import_module(name)
        module.main(["--data", str(data), "--out", str(tmp_path)])
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        return json.loads(capsys.readouterr().out)

    return run


def said(*figures: str) -> None:
    """The page has each of these figures."""
    assert [figure for figure in figures if figure not in PAGE] == []


@pytest.mark.slow
def test_prevalence_and_pairs_are_those_of_the_page(find):
    found = find("prevalence")
    effusion = found["findings"]["Effusion"]
    first = found["pairs"][0]
    assert found["images"] == 112_120
    assert sum(found["images_by_number_of_findings"].values()) == found["images"]
    assert first["findings"] == ["Effusion", "Infiltration"]
    said(f"{found['no_finding']:,}", f"{effusion['images']:,}", f"{first['images']:,}")


@pytest.mark.slow
def test_ages_and_views_are_those_of_the_page(find):
    found = find("ages_and_views")
    written, views = found["ages_as_written"], found["images_by_view"]
    assert (written["above_120"], written["unreadable"], written["oldest"]) == (0, 0, 95)
    assert sum(views.values()) == 112_120
    edema = found["prevalence_by_view"]["Edema"]
    said(f"{views['PA']:,}", f"{views['AP']:,}", f"{edema['AP'] / edema['PA']:.0f} times")


@pytest.mark.slow
def test_label_noise_is_that_of_the_page(find):
    found = find("label_noise")
    assert (found["images"], found["patients"]) == (4376, 1695)
    for row in found["findings"].values():
        for key in ("ppv", "sensitivity", "kappa"):
            low, high = row[f"{key}_ci95"]
            said(f"{row[key]:.2f} ({low:.2f} to {high:.2f})")


@pytest.mark.slow
def test_an_image_split_leaks_four_of_five_validation_images(find):
    found = find("leakage")
    image, patient = found["by_image"], found["by_patient"]
    assert found["expected_share"] == pytest.approx(0.815, abs=0.0005)
    assert image["share"] == pytest.approx(found["expected_share"], abs=0.01)
    assert patient["leaking_images"] == 0 < patient["images"]
    said("81.5 %", f"{image['leaking_images']:,} of {image['images']:,}")


@pytest.mark.slow
def test_follow_ups_are_those_of_the_page(find):
    found = find("follow_ups")
    assert (found["patients"], found["images"]) == (30_805, 112_120)
    pairs = {row["pairs"] for row in found["next_image"].values()}
    assert pairs == {found["images"] - found["patients"]}
    said(f"{found['patients_with_one_image']:,}", str(found["most_images"]))


def test_sql_on_the_page_is_that_of_the_scripts():
    scripts = "".join(file.read_text(encoding="utf-8") for file in EXAMPLES.glob("*.py"))
    blocks = re.findall(r"^```sql\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    assert [block for block in blocks if block not in scripts] == []
