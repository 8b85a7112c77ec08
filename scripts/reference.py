"""Writes docs/reference/*.md from the code, so that no option is documented twice.

    python scripts/reference.py           write the pages
    python scripts/reference.py --check   exit 1 if a page is not what would be written

Names, defaults and fields come from the objects themselves. Where the code has no sentence about
a field, `MEANINGS` of field_meanings.py has it; a field without one, or one without a field, is an
error here.
The text does not depend on the terminal: nothing asks for its width, colours or language.
"""

import argparse
import dataclasses
import difflib
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer
from field_meanings import LABEL_COLUMNS, MEANINGS, RADIOGRAPH_COLUMNS
from pyspark.ml.param import Params

from hilum import storage
from hilum.cli import main as cli
from hilum.evaluation import evaluate
from hilum.findings import FINDINGS
from hilum.inference import ModelBundle, save_bundle
from hilum.models import architecture
from hilum.preprocessing import radiograph_chain
from hilum.radiograph import REASONS
from hilum.recipes.ingest import IngestReport
from hilum.recipes.runs import RunSummary
from hilum.spark import (
    NNClassifier,
    NNClassifierModel,
    NNEstimator,
    NNModel,
    RocAucEvaluator,
)
from hilum.training import EpochRecord
from hilum.training.environment import describe_environment
from hilum.training.progress import Progress
from hilum.training.shards import CacheManifest, ShardFile

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "reference"
GENERATED = "<!-- Written by scripts/reference.py; `make docs` writes it again. -->"


def main() -> int:
    """Write or check the pages; returns the exit code."""
    parser = argparse.ArgumentParser(description="Write docs/reference from the code.")
    parser.add_argument("--check", action="store_true", help="exit 1 if a page is stale")
    check = parser.parse_args().check
    stale = []
    for name, page in PAGES.items():
        path, text = FOLDER / name, f"{GENERATED}\n\n{page().rstrip()}\n"
        found = path.read_text(encoding="utf-8") if path.exists() else ""
        if found == text:
            continue
        stale.append(name)
        if check:
            lines = difflib.unified_diff(
                found.splitlines(),
                text.splitlines(),
                f"docs/reference/{name}",
                "the code",
                n=0,
                lineterm="",
            )
            print("\n".join([*lines][:20]))
        else:
            FOLDER.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"wrote docs/reference/{name}")
    if check and stale:
        print(f"stale: {', '.join(stale)}. `make docs` writes them again.")
    return int(check and bool(stale))


def cli_page() -> str:
    """Every command with its arguments and options."""
    group: Any = typer.main.get_command(cli.app)
    commands = dict(_commands(group))
    parts = ["# Command line", group.help, "```\nhilum [--version] [--help] COMMAND ...\n```"]
    parts.append(
        _table(
            ("command", "what it does"),
            (
                [f"[{name}](#hilum-{name.replace(' ', '-')})", _first(command)]
                for name, command in commands.items()
            ),
        )
    )
    parts += ["Every command also knows `--help`.", "## Exit codes", _exit_codes()]
    for name, command in commands.items():
        parts += _command(f"hilum {name}", command)
    return "\n\n".join(parts)


def _commands(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Commands by what is typed for them, those of groups in their group's place."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


def parameters_page() -> str:
    """Every Param of every stage."""
    parts = [
        "# Parameters of the Spark ML stages",
        "Constructors take them by name. `stage.explainParams()` prints them too.",
    ]
    for stage in (NNEstimator(), NNModel(), RocAucEvaluator()):
        parts += [f"## {type(stage).__name__}", _sentences(type(stage).__doc__)]
        rows = ([f"`{p.name}`", _default(stage, p.name), p.doc] for p in stage.params)
        parts.append(_table(("name", "default", "meaning"), rows))
    for stage, base in ((NNClassifier(), NNEstimator()), (NNClassifierModel(), NNModel())):
        known = {p.name: _default(base, p.name) for p in base.params}
        defaults = {p.name: _default(stage, p.name) for p in stage.params}
        rows = (
            [f"`{p.name}`", defaults[p.name], p.doc]
            for p in stage.params
            if defaults[p.name] != known.get(p.name)
        )
        parts += [f"## {type(stage).__name__}", _sentences(type(stage).__doc__)]
        parts.append(f"Those of {type(base).__name__}; these are its own, or begin otherwise:")
        parts.append(_table(("name", "default", "meaning"), rows))
    return "\n\n".join(parts)


def reasons_page() -> str:
    """Why images are refused."""
    rows = ([f"`{code}`", meaning] for code, meaning in REASONS.items())
    intro = (
        "A file that cannot be used is a row, not a crash: `status` is `rejected` and `reason` is "
        "one of these codes. They are stable; scripts may depend on them. `NNModel.transform` "
        "passes them on in its error column, with one more: `no_image`, the image is null."
    )
    return "\n\n".join(["# Reasons", intro, _table(("code", "meaning"), rows)])


def schema_page() -> str:
    """Columns and fields that other programs may rely on."""
    column = ("column", "type", "meaning")
    parts = [
        "# Tables and files",
        "Fields may be added in any release; none is renamed or removed without a line in "
        "CHANGELOG.md. Numbers that are undefined are null, never 0 or NaN.",
        "## read_radiographs",
        _table(column, ([f"`{n}`", f"`{t}`", m] for n, (t, m) in RADIOGRAPH_COLUMNS.items())),
        "## read_labels",
        _table(column, ([f"`{n}`", f"`{t}`", m] for n, (t, m) in LABEL_COLUMNS.items())),
        "Joined, a column that both sides have is one: the label table's value, or the image's "
        "where that is null. Splitting adds `split` (string, null for a row in no split).",
        "## NNModel.transform",
        _table(
            column,
            [
                [
                    "`prediction`",
                    "`array<float>`",
                    "probability per finding, in model order; calibrated where the bundle holds a "
                    "calibration",
                ],
                ["`prediction_error`", "`string`", "why there is no prediction; null where one is"],
                [
                    "`predicted_findings`",
                    "`array<string>`",
                    "findings called present at the bundle's default operating point; null without "
                    "prediction or thresholds",
                ],
            ],
        ),
        "## metrics.json",
        _fields("metrics.json", _paths(_example_metrics())),
        "## BUNDLE/manifest.json",
        _fields("bundle manifest", _example_manifest()),
        "## CACHE/FINGERPRINT/manifest.json",
        _fields("cache manifest", _example_cache_manifest()),
        "## RUN/history.json",
        "One object per epoch under `epochs`:",
        _fields("history.json", _names(EpochRecord)),
        "`RUN/history.csv` has the same columns, but `valid_auroc_FINDING` for each finding in "
        "place of `valid_auroc`, and those of classifiers only there.",
        "## RUN/environment.json",
        _fields("environment.json", [*describe_environment(), "leader"]),
        "## RUN/progress.json",
        "Rewritten while ranks train, at most twice a second:",
        _fields("progress.json", _names(Progress)),
        "## Output of hilum runs list",
        "One object a line with `--format json`:",
        _fields("hilum runs", _names(RunSummary)),
        "## Output of hilum ingest",
        _fields("ingest", _names(IngestReport)),
        "## Exit codes",
        _exit_codes(),
    ]
    return "\n\n".join(parts)


PAGES: dict[str, Callable[[], str]] = {
    "cli.md": cli_page,
    "parameters.md": parameters_page,
    "reasons.md": reasons_page,
    "schema.md": schema_page,
}


def _command(title: str, command: Any) -> list[str]:
    words, _, examples = command.help.partition("Examples:")
    arguments = [p for p in command.params if not p.opts[0].startswith("-")]
    options = [p for p in command.params if p.opts[0].startswith("-") and not p.hidden]
    usage = " ".join([title, *(_metavar(p) for p in arguments), "[OPTIONS]"])
    parts = [f"## {title}", f"```\n{usage}\n```", words.strip()]
    if examples.strip():
        lines = [line.strip() for line in examples.splitlines() if line.strip()]
        parts.append("```bash\n" + "\n".join(lines) + "\n```")
    if arguments:
        rows = ([f"`{_metavar(p)}`", p.help] for p in arguments)
        parts.append(_table(("argument", "meaning"), rows))
    panels: dict[str, list[Any]] = {}
    for option in options:
        panels.setdefault(getattr(option, "rich_help_panel", None) or "", []).append(option)
    for panel, members in panels.items():
        rows = ([_option(p), _option_default(p), p.help or ""] for p in members)
        parts += [f"**{panel}**"] if panel else []
        parts.append(_table(("option", "default", "meaning"), rows))
    return parts


def _metavar(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper())


def _option(parameter: Any) -> str:
    return f"`{', '.join([*parameter.opts, *parameter.secondary_opts])}`"


def _option_default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    if parameter.default in (None, "", []):
        return "none"
    if parameter.is_flag:
        return "on" if parameter.default else "off"
    return f"`{parameter.default}`"


def _first(command: Any) -> str:
    return str(command.help.partition("\n\n")[0])


def _exit_codes() -> str:
    doc = (cli.__doc__ or "").partition("Exit codes:")[2]
    codes = re.findall(r"(\d+) ([^;]+?)(?:;|\.\s*$)", " ".join(doc.split()))
    return _table(("code", "meaning"), ([f"`{code}`", meaning] for code, meaning in codes))


def _sentences(doc: str | None) -> str:
    """The first paragraphs of a docstring, up to an example or a list."""
    paragraphs = (doc or "").partition("Example:")[0].split("\n\n")
    return "\n\n".join(" ".join(text.split()) for text in paragraphs if text.strip())


def _default(stage: Params, name: str) -> str:
    param = stage.getParam(name)
    if not stage.hasDefault(param):
        return "none"
    value = stage.getOrDefault(param)
    return "the 14 of NIH" if value == list(FINDINGS) else f"`{json.dumps(value)}`"


def _fields(kind: str, names: Iterable[str]) -> str:
    meanings, found = MEANINGS[kind], list(names)
    if sorted(found) != sorted(meanings):
        differ = sorted(set(found) ^ set(meanings))
        raise SystemExit(f"MEANINGS[{kind!r}] in scripts/field_meanings.py does not fit: {differ}")
    return _table(("field", "meaning"), ([f"`{name}`", meanings[name]] for name in found))


def _names(kind: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


def _paths(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Dotted names of the fields; keys that are findings or views become NAME and VIEW."""
    places = {"findings": "NAME", "by_view": "VIEW", "bootstrap": None}
    for key, value in metrics.items():
        yield key
        if key in places:
            inner = next(iter(value.values())) if places[key] else value
            prefix = ".".join(filter(None, (key, places[key])))
            yield from (f"{prefix}.{name}" for name in inner)


def _example_metrics() -> dict[str, Any]:
    labels, scores = np.array([[0.0], [1.0]]), np.array([[0.2], [0.8]])
    return evaluate(
        ("Mass",), labels, scores, patient_ids=["1", "2"], views=["PA", "PA"], seed=0
    ).to_dict()


def _example_manifest() -> list[str]:
    net = architecture("resnet18")
    bundle = ModelBundle(
        architecture=net.name,
        findings=FINDINGS,
        preprocessing=radiograph_chain(net.image_size_px, net.mean, net.std),
        weights={"none": torch.zeros(1)},
    )
    save_bundle(bundle, "memory://reference")
    return list(storage.read_json("memory://reference/manifest.json"))


def _example_cache_manifest() -> list[str]:
    index = ShardFile(name="index.parquet", num_images=0, sha256="")
    manifest = CacheManifest(
        fingerprint="",
        image_shape=(1, 1, 1),
        num_images=0,
        preprocessing={},
        shards=(),
        index=index,
        rejected={},
    )
    return list(manifest.to_json())


def _table(header: tuple[str, ...], rows: Iterable[Iterable[object]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines
    )


if __name__ == "__main__":
    sys.exit(main())
