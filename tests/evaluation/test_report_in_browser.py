"""The report in a real browser: nothing fails, nothing is fetched, every picture shows, it prints.

Needs a Chromium; Debian: apt-get install chromium.
"""

import re
from pathlib import Path

import pytest

from browser import Browser, find_browser
from full_report import full_inputs
from hilum.evaluation.report import write_report

pytestmark = pytest.mark.skipif(
    find_browser() is None, reason="no Chromium on this machine (Debian: apt-get install chromium)"
)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = Path(write_report(tmp_path_factory.mktemp("report"), full_inputs()))
    with Browser(find_browser(), tmp_path_factory.mktemp("profile")) as browser:
        browser.open(path)
        yield browser


def test_nothing_is_logged_as_an_error(page):
    assert page.named("Runtime.exceptionThrown") == []
    assert page.named("Log.entryAdded") == []  # a breach of the content policy would be here
    assert page.named("Runtime.consoleAPICalled") == []


def test_nothing_but_the_file_itself_is_requested(page):
    urls = [event["request"]["url"] for event in page.named("Network.requestWillBeSent")]
    fetched = [url for url in urls if not url.startswith("data:")]
    assert len(fetched) == 1
    assert fetched[0].endswith("/report.html")


def test_every_picture_shows(page):
    widths = page.evaluate("[...document.images].map(image => image.naturalWidth)")
    assert len(widths) >= 12
    assert min(widths) > 0
    assert page.evaluate("[...document.images].every(image => image.alt.length > 10)")


def test_nothing_sticks_out_of_the_page(page):
    wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert wide <= 0


def test_it_prints_on_a_sane_number_of_pages(page):
    pdf = page.pdf()
    assert pdf.startswith(b"%PDF")
    pages = len(re.findall(rb"/Type\s*/Page\b", pdf))
    assert 10 <= pages <= 30
    assert re.search(rb"/MediaBox\s*\[\s*0 0 59[4-6]\.?\d* 84[1-2]\.?\d*\s*\]", pdf)  # A4


def test_a_page_that_fetches_is_caught(tmp_path):
    """The checks above would see it: a picture from elsewhere, refused by the content policy."""
    policy = "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'\">"
    path = tmp_path / "bad.html"
    path.write_text(f"<!DOCTYPE html>{policy}<img src='http://127.0.0.1:9/x.png' alt='x'>")
    (tmp_path / "profile").mkdir()
    with Browser(find_browser(), tmp_path / "profile") as browser:
        browser.open(path)
        widths = browser.evaluate("[...document.images].map(image => image.naturalWidth)")
        assert widths == [0]
        assert "Content Security Policy" in browser.named("Log.entryAdded")[0]["entry"]["text"]
