"""The documentation is true: its Python runs, its links lead somewhere, its commands exist."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer

import page_reader
from hilum.cli.main import app
from hilum.phantom import PhantomConfig, write_dataset
from quick_java import QUICK_JAVA

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
READER = ROOT / "tests" / "support" / "page_reader.py"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SESSION = re.compile(r'\blocal_session\((?:"([^"]+)")?')
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
NUM_PHANTOMS = 32


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block: its language, its text and the line it starts at."""

    language: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    """Fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(match[1], match[2], text.count("\n", 0, match.start(2)) + 1)
        for match in FENCE.finditer(text)
    ]


def python_of(page: Path) -> str:
    """The page's Python; every line keeps its number, so that a traceback names the page's own."""
    lines = [""] * page.read_text(encoding="utf-8").count("\n")
    for block in blocks(page):
        if block.language == "python":
            inner = block.text.splitlines()
            lines[block.line - 1 : block.line - 1 + len(inner)] = inner
    return "\n".join(lines) + "\n"


def master_of(code: str) -> str | None:
    """The master of the session that a page starts; None if it starts none."""
    asked = SESSION.search(code)
    return None if asked is None else asked[1] or "local[*]"


PYTHON_PAGES = [page for page in PAGES if any(b.language == "python" for b in blocks(page))]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path], str | None]]:
    """Runs a page in a folder with what pages call xrays/ and Data_Entry_2017.csv, small."""
    folder = tmp_path_factory.mktemp("docs")
    config = PhantomConfig(size_px=64, seed=1, prevalence_floor=0.3)
    write_dataset(folder, NUM_PHANTOMS, config)
    (folder / "images").rename(folder / "xrays")
    log = folder.with_name("docs.log")
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, str(READER)],
            cwd=folder,
            env=os.environ | {"JDK_JAVA_OPTIONS": QUICK_JAVA},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )

    def read(page: Path) -> str | None:
        code = python_of(page)
        job = {"page": page.name, "code": code, "master": master_of(code)}
        print(json.dumps(job), file=process.stdin, flush=True)
        answer = process.stdout.readline()
        assert answer, log.read_text()[-4000:]
        return json.loads(answer)["failed"]

    with process:
        yield read
        process.stdin.close()
        assert process.wait(60) == 0, log.read_text()[-4000:]


@pytest.mark.spark
@pytest.mark.slow
@pytest.mark.parametrize("page", PYTHON_PAGES, ids=lambda page: page.name)
def test_python_in_the_docs_runs(page: Path, reader: Callable[[Path], str | None]) -> None:
    """Blocks run in order as one script, in a folder with a small data set and nothing else."""
    failed = reader(page)
    assert failed is None, f"{page.name}, lines as in the page:\n{failed}"


@pytest.mark.parametrize(
    ("found", "asked", "left"),
    [
        ("local[2]", "local[*]", "local[*]"),
        ("local[2]", "local-cluster[2,1,1024]", None),
        ("local-cluster[2,1,1024]", "local[2]", None),
        ("local[2]", "yarn", None),
        ("yarn", "yarn", "yarn"),
    ],
)
def test_only_local_threads_pass_for_one_another(found, asked, left, monkeypatch):
    settings = {"spark.master": found}
    conf = SimpleNamespace(set=settings.__setitem__)
    monkeypatch.setattr(page_reader, "STOP", lambda session: settings.clear())
    session = SimpleNamespace(sparkContext=SimpleNamespace(master=found), conf=conf)
    page_reader.give_master(session, asked)
    assert settings.get("spark.master") == left


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    targets = [first or second for first, second in LINK.findall(text)]
    broken = []
    for target in targets:
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []


def anchors(page: Path) -> set[str]:
    """What the headings of a page are called in links, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_the_docs_exist(page: Path) -> None:
    unknown = []
    for line in shell_lines(page):
        words = shlex.split(line, comments=True)
        command: Any = typer.main.get_command(app)
        for name in [word for word in words[1:] if not word.startswith("-")]:
            if not hasattr(command, "commands"):
                break
            default = command.commands.get(getattr(command, "default", None))
            command = command.commands.get(name, default)
        if command is None:
            unknown.append(line)
            continue
        known = {option for p in command.params for option in p.opts} | {"--help"}
        options = {word.partition("=")[0] for word in words if word.startswith("--")}
        if not options <= known:
            unknown.append(line)
    assert unknown == []


def shell_lines(page: Path) -> Iterator[str]:
    """Calls of hilum in the shell blocks of a page."""
    for block in blocks(page):
        if block.language in ("bash", "sh", "console"):
            for line in block.text.replace("\\\n", " ").splitlines():
                if re.match(r"(\$ )?(\.venv/bin/)?hilum\b", line.strip()):
                    yield line.strip().removeprefix("$ ")
