"""Page, report.json, CSV tables, model card and checklist say the same, and nothing is hidden."""

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from full_report import full_inputs
from hilum.errors import InvalidValueError
from hilum.evaluation import Evaluation, evaluate
from hilum.evaluation.report import Column, Estimate, ReportInputs, Table, write_report
from hilum.evaluation.report.assembly import assemble
from hilum.evaluation.report.card import TO_COMPLETE
from hilum.evaluation.report.document import report_document, report_schema
from hilum.findings import FINDINGS

EVERY_PART = [
    *("findings", "published", "roc", "operating-points", "calibration", "cooccurrence", "views"),
    *("subgroups", "shortcuts", "label-noise", "robustness", "out-of-distribution"),
    "localisation",
]


@pytest.fixture(scope="module")
def inputs():
    return full_inputs()


@pytest.fixture(scope="module")
def directory(inputs, tmp_path_factory):
    return Path(write_report(tmp_path_factory.mktemp("report"), inputs)).parent


@pytest.fixture(scope="module")
def document(directory):
    return json.loads((directory / "report.json").read_text())


def test_every_part_is_there_and_in_order(directory, document):
    assert [part["anchor"] for part in document["parts"]] == EVERY_PART
    assert document["not_examined"] == []
    html = (directory / "report.html").read_text()
    found = re.findall(r'<section id="([a-z-]+)">', html)
    assert [anchor for anchor in found if anchor in EVERY_PART] == EVERY_PART
    assert "Everything &lt;at once&gt;" in html


def test_report_json_obeys_its_schema(document, directory):
    schema = json.loads((directory / "report.schema.json").read_text())
    assert schema == report_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(document, schema)


def test_a_report_of_little_obeys_the_schema_too_and_says_what_is_missing():
    small = evaluate(["Mass"], [0, 1, 0, 1], [0.1, 0.9, 0.2, 0.8], num_resamples=0)
    document = report_document(assemble(ReportInputs(evaluation=small)))
    jsonschema.validate(document, report_schema())
    missing = {entry["what"] for entry in document["not_examined"]}
    assert {"operating points", "subgroups", "robustness", "out of distribution"} <= missing


def test_a_document_that_breaks_the_schema_is_refused(document):
    for broken in (document | {"format_version": 2}, document | {"more": 1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, report_schema())


def test_csv_files_hold_the_rows_of_report_json(directory, document):
    for name, table in document["tables"].items():
        with (directory / f"{name}.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == len(table["rows"])
        for row, stored in zip(rows, table["rows"], strict=True):
            assert list(row) == list(stored)
            for key, value in stored.items():
                if isinstance(value, str):
                    assert row[key] == value
                else:
                    assert (float(row[key]) if row[key] else None) == value


def test_tables_hold_the_numbers_of_the_evaluation(inputs, document):
    rows = {row["finding"]: row for row in document["tables"]["findings"]["rows"]}
    for name, result in inputs.evaluation.findings.items():
        low, high = result.auroc_ci95 or (None, None)
        assert rows[name]["auroc"] == result.auroc
        assert (rows[name]["auroc_low"], rows[name]["auroc_high"]) == (low, high)
        assert rows[name]["auprc"] == result.auprc
    assert Evaluation.from_dict(document["metrics"]) == inputs.evaluation


def test_operating_points_name_their_rule_and_origin(directory, document):
    html = (directory / "report.html").read_text()
    assert "fitted on 300 valid images and frozen" in html
    rules = {row["rule"] for row in document["tables"]["operating_points"]["rows"]}
    assert "highest sensitivity at 90 % specificity" in rules
    assert len(rules) == 3


def test_model_card_has_the_headings_of_mitchell_2019(directory, document):
    card = (directory / "model_card.md").read_text()
    headings = re.findall(r"^## (.+)$", card, re.MULTILINE)
    assert headings == [section["heading"] for section in document["model_card"]]
    assert {"Model details", "Intended use", "Not for", "Training data"} <= set(headings)
    assert "ab" * 32 in card
    assert f"| Owner, contact, licence | {TO_COMPLETE} |" in card
    assert "Everything &lt;at once>" in card


def test_claim_has_44_items_each_filled_or_left_to_the_authors(directory, document):
    checklist = (directory / "claim_checklist.md").read_text()
    rows = re.findall(r"^\| (\d+) \|.*\| (.*) \|$", checklist, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 45))
    answers = {item["number"]: item["answer"] for item in document["claim_checklist"]}
    assert [text == f"**{TO_COMPLETE}**" for _, text in rows] == [
        not answers[number] for number in range(1, 45)
    ]
    assert "seed 1" in answers[19]
    assert "2 tested patients" in answers[20]
    assert "noise" in answers[30]
    assert not answers[44]  # nobody's funding can be known from a run


def test_doubts_of_the_parts_reach_the_summary(document):
    told = " ".join(document["summary"]["cautions"])
    assert "View can be read from what the network computes" in told
    assert "Also in the training images: 2 tested patients." in told


def test_a_leaderboard_of_other_data_is_not_shown(inputs):
    report = assemble(replace(inputs, published=()))
    assert "published" not in {part.anchor for part in report.parts}
    assert "published results" in {missing.what for missing in report.missing}


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(codec="utf-8", exclude_categories=["C"])),
            st.none() | st.floats(0, 1),
            st.none() | st.tuples(st.floats(0, 1), st.floats(0, 1)),
        ),
        max_size=5,
    )
)
def test_a_table_survives_csv(rows):
    table = Table(
        name="any",
        columns=[Column(key="name", label="Name"), Column(key="v", label="V", form="estimate")],
        rows=[{"name": name, "v": Estimate(value=v, interval=pair)} for name, v, pair in rows],
    )
    read = list(csv.DictReader(io.StringIO(table.to_csv(), newline="")))
    assert [row["name"] for row in read] == [name for name, _, _ in rows]
    for row, (_, value, pair) in zip(read, rows, strict=True):
        low, high = pair or (None, None)
        for key, expected in (("v", value), ("v_low", low), ("v_high", high)):
            assert (float(row[key]) if row[key] else None) == expected


def test_a_cell_of_the_wrong_kind_is_refused():
    columns = [Column(key="a", label="A", form="number")]
    with pytest.raises(InvalidValueError, match="Estimate"):
        Table(name="t", columns=columns, rows=[{"a": Estimate(value=1.0)}]).to_csv()
    with pytest.raises(InvalidValueError, match="cells for"):
        Table(name="t", columns=columns, rows=[{"b": 1}])


def test_hernia_is_undefined_everywhere(document):
    assert document["curves"]["Hernia"] is None
    assert document["metrics"]["findings"]["Hernia"]["auroc"] is None
    assert set(document["metrics"]["findings"]) == set(FINDINGS)
