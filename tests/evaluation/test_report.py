"""The report stands alone, names everything, and says what is undefined or doubtful."""

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from hilum.evaluation import Evaluation, evaluate
from hilum.evaluation.report import (
    DataFlow,
    Example,
    ReportInputs,
    SplitCount,
    render_report,
    write_report,
)
from hilum.evaluation.summary import cautions, headlines
from hilum.findings import FINDINGS


def make_evaluation(*, shift=0.0, patients=True):
    random = np.random.default_rng(0)
    labels = (random.random((200, 14)) < 0.08).astype(float)
    labels[:, FINDINGS.index("Hernia")] = 0
    labels[:, FINDINGS.index("Fibrosis")] = np.arange(200) < 5
    scores = 1 / (1 + np.exp(-(random.normal(size=labels.shape) + shift * labels)))
    sick = labels.any(axis=1)
    return evaluate(
        FINDINGS,
        labels,
        scores,
        patient_ids=random.integers(0, 90, 200) if patients else None,
        views=["AP" if s and k % 2 else "PA" for k, s in enumerate(sick)],
        num_resamples=50,
    )


def make_small_evaluation():
    return evaluate(["Mass", "Edema"], [[0, 0], [1, 0]], [[0.1, 0.1], [0.9, 0.1]])


@pytest.fixture(scope="module")
def inputs():
    return ReportInputs(
        evaluation=make_evaluation(shift=2.0),
        title="Test <b>of</b> A & B",
        notes=["Synthetic radiographs."],
        flow=DataFlow(
            files_found=2010,
            rejected={"truncated": 7, "empty": 3},
            splits=[
                SplitCount(name="train", images=1800, patients=800),
                SplitCount(name="test", images=200, patients=90),
            ],
            leaking_patients=0,
        ),
        label_counts={"Mass": 120, "No Finding": 1500},
        label_images=2000,
        history=[
            {"epoch": 0, "train_loss": 0.51234, "valid_loss": 0.4, "valid_mean_auroc": 0.7123},
            {"epoch": 1, "train_loss": 0.4, "valid_loss": None, "lr": 1e-4, "images_per_s": 12.5},
        ],
        examples=[
            Example(
                name="<img src=x>.png",
                pixels=np.zeros((16, 16), np.uint8),
                probabilities=dict.fromkeys(FINDINGS, 0.5),
                labels={"Mass": 1.0},
            )
        ],
        settings={"Seed": 17, "Versions": {"torch": "2.15.0"}, "Crop": [224, 224], "Rate": 1e-4},
    )


@pytest.fixture(scope="module")
def html(inputs):
    return render_report(inputs)


class References(HTMLParser):
    """Collects every tag, everything a browser would load, links to follow, and anchors."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.loaded, self.links, self.anchors = [], [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        loading = {"src", "href", "srcset", "data", "poster", "action", "background"}
        found = [value for name, value in attrs if name in loading]
        (self.links if tag == "a" else self.loaded).extend(found)
        self.anchors |= {value for name, value in attrs if name == "id"}


def test_nothing_is_loaded_from_outside(html):
    page = References(html)
    icon, *pictures = page.loaded
    assert icon == "data:,"  # else browsers ask for favicon.ico
    assert len(pictures) == 6  # bars, ROC, reliability, prevalence, training, one example
    assert all(source.startswith("data:image/svg+xml;base64,") for source in pictures)
    assert not {"script", "iframe", "object"} & set(page.tags)
    assert "url(" not in html
    assert "@import" not in html
    assert "default-src 'none'" in html


def test_nothing_inside_the_pictures_is_loaded_from_outside(html):
    for source in References(html).loaded[1:]:
        svg = base64.b64decode(source.partition(",")[2]).decode()
        assert all(link.startswith(("#", "data:")) for link in re.findall(r'href="([^"]*)"', svg))
        assert all(link.startswith("#") for link in re.findall(r"url\(([^)]*)\)", svg))


def test_names_are_escaped(html):
    assert "<title>Test &lt;b&gt;of&lt;/b&gt; A &amp; B</title>" in html
    assert "&lt;img src=x&gt;.png" in html
    assert "<img src=x>" not in html


def test_every_finding_is_in_the_table_with_its_numbers(inputs, html):
    for name, result in inputs.evaluation.findings.items():
        row = re.search(rf"<tr><td>{name.replace('_', ' ')}\b.*?</tr>", html, re.DOTALL)
        assert row, name
        told = "undefined" if result.auroc is None else f"{result.auroc:.3f}"
        assert told in row[0]
        assert f">{result.positives}</td>" in row[0]


def test_undefined_findings_are_said_and_explained(html):
    assert "Not scored: Hernia." in html
    assert "AUC is undefined" in html


def test_data_flow_and_reasons_are_told(html):
    for words in ("2,010", "2,000", "10 rejected", "1,800", "800 patients", "truncated"):
        assert words in html
    assert "the file ends before its pixels do" in html
    assert "No tested patient is in the training images." in html


def test_settings_training_notes_and_limits_are_told(html):
    for words in ("torch: 2.15.0", "224, 224", "0.0001", "0.5123", "0.712", "12.5"):
        assert words in html
    assert "Synthetic radiographs." in html
    assert "not a medical device" in html


def test_parts_not_given_are_left_out():
    html = render_report(ReportInputs(evaluation=make_small_evaluation()))
    for section in ("views", "data", "training", "examples", "settings"):
        assert f'<section id="{section}">' not in html
    for section in ("summary", "findings", "roc", "limits"):
        assert f'<section id="{section}">' in html


def test_report_of_nothing_says_so():
    empty = evaluate(["Mass"], np.zeros((0, 1)), np.zeros((0, 1)))
    html = render_report(ReportInputs(evaluation=empty))
    assert "No finding could be scored" in html


def test_links_lead_to_parts_of_the_page_and_to_files_beside_it(inputs, tmp_path):
    path = Path(write_report(tmp_path, inputs))
    page = References(path.read_text())
    assert {"#findings", "findings.csv", "model_card.md", "claim_checklist.md"} <= set(page.links)
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.anchors
        else:
            assert (tmp_path / link).is_file()


def test_written_metrics_are_the_evaluation(tmp_path):
    inputs = ReportInputs(evaluation=make_small_evaluation())
    path = Path(write_report(tmp_path / "new" / "report", inputs))
    assert path == tmp_path / "new" / "report" / "report.html"
    metrics = (path.parent / "metrics.json").read_text()
    assert Evaluation.from_json(metrics) == inputs.evaluation
    assert json.loads(metrics)["findings"]["Edema"]["auroc"] is None
    assert "AUC for Mass" in path.read_text()


def test_writing_again_replaces_and_a_failure_leaves_the_old_report(tmp_path):
    whole = ReportInputs(evaluation=make_small_evaluation())
    path = Path(write_report(tmp_path, whole))
    path.write_text("old")
    broken = Example(name="x", pixels=np.zeros((2, 2)), probabilities={"Mass": 0.5})
    with pytest.raises(ValueError, match="uint8"):
        write_report(tmp_path, ReportInputs(evaluation=whole.evaluation, examples=[broken]))
    assert path.read_text() == "old"
    write_report(tmp_path, whole)
    assert path.read_text() != "old"
    assert not list(tmp_path.glob(".*"))


def test_headlines_tell_the_result_in_plain_words():
    evaluation = make_evaluation(shift=2.0)
    told = " ".join(headlines(evaluation))
    assert "200 radiographs of" in told
    assert f"mean AUC of 13 findings is {evaluation.mean_auroc:.2f} (95 % interval" in told
    assert f"{100 * evaluation.any_finding.auroc:.0f} times out of 100" in told
    assert "Best recognised:" in told


def test_one_scored_finding_is_named():
    assert "The AUC for Mass is 1.00" in " ".join(headlines(make_small_evaluation()))


def test_doubts_are_raised():
    told = " ".join(cautions(make_evaluation(patients=False), DataFlow(leaking_patients=3)))
    assert "Also in the training images: 3 tested patients." in told
    assert "Not scored: Hernia." in told
    assert "beats guessing for Atelectasis" in told
    assert "Fewer than 10 test images have Fibrosis;" in told
    assert "100 % of the AP radiographs have a finding" in told
    assert "Patients are not known" in told


def test_nothing_doubtful_raises_no_doubt():
    random = np.random.default_rng(0)
    labels = np.arange(200) % 2
    scores = np.clip(0.5 * labels + 0.5 * random.random(200), 0, 1)
    sound = evaluate(["Mass"], labels, scores, patient_ids=np.arange(200), num_resamples=50)
    assert cautions(sound, DataFlow(leaking_patients=0)) == []
