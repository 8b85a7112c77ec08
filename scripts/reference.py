"""Writes docs/reference/*.md from the code, so that no option is documented twice.

    python scripts/reference.py           write the pages
    python scripts/reference.py --check   exit 1 if a page is not what would be written

Names, defaults and fields come from the objects themselves. Where the code has no sentence about
a field, `MEANINGS` below has it; a field without one, or one without a field, is an error here.
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
from hilum.spark import NNEstimator, NNModel, RocAucEvaluator
from hilum.training import EpochRecord
from hilum.training.progress import Progress
from hilum.training.shards import CacheManifest, ShardFile

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "reference"
GENERATED = "<!-- Written by scripts/reference.py; `make docs` writes it again. -->"

RADIOGRAPH_COLUMNS: dict[str, tuple[str, str]] = {
    "file_name": ("string", "last part of the path; the key that label tables are joined on"),
    "path": ("string", "full path or URL"),
    "length": ("bigint", "bytes of the file"),
    "modification_time": ("timestamp", "of the file"),
    "image": (
        "struct<origin:string,height:int,width:int,nChannels:int,mode:int,data:binary>",
        "Spark's image struct, one 8-bit channel, rows first; null where rejected",
    ),
    "status": ("string", '"ok" or "rejected"'),
    "reason": ("string", "code of [reasons.md](reasons.md) where rejected, else null"),
    "detail": ("string", "the reason in words, without patient data"),
    "source_format": ("string", '"png", "jpeg" or "dicom"'),
    "source_bits": ("int", "significant bits per sample in the file"),
    "modality": ("string", "DICOM Modality: DX, CR, ..."),
    "view": ("string", "DICOM ViewPosition: PA, AP, LATERAL, ..."),
    "patient_id": ("string", "DICOM PatientID, as stored"),
    "age_years": ("double", "DICOM PatientAge in years"),
    "sex": ("string", "DICOM PatientSex: M, F or O"),
    "sop_instance_uid": ("string", "DICOM SOPInstanceUID"),
    "warnings": ("array<string>", "what was tolerated in the file, as short codes"),
}
LABEL_COLUMNS: dict[str, tuple[str, str]] = {
    "file_name": ("string", "image the row is about; occurs once"),
    "patient_id": ("string", "what splits keep together"),
    "labels": ("array<float>", "1, 0 or null (unknown) per finding; names in the metadata"),
    "age_years": ("double", "null above 120"),
    "sex": ("string", "M, F or O"),
    "view": ("string", "upper case: PA, AP, ..."),
    "follow_up": ("int", "number of the examination, counted per patient"),
}
MEANINGS: dict[str, dict[str, str]] = {
    "metrics.json": {
        "mean_auroc": "mean over the findings that have an AUC; null if none has",
        "mean_auroc_ci95": "[low, high], 95 % bootstrap interval over patients",
        "num_images": "images scored",
        "num_patients": "their patients; null if not known (each image then counts as one)",
        "findings": "by name, in label order",
        "findings.NAME.auroc": "exact AUC; null where the known labels have one value",
        "findings.NAME.auroc_ci95": "[low, high]; null with three or fewer patients of one kind",
        "findings.NAME.positives": "images with the finding",
        "findings.NAME.images": "images whose label is known",
        "findings.NAME.prevalence": "positives / images",
        "findings.NAME.roc": "corners of the curve, at most 500: fpr, tpr, thresholds "
        "(the first threshold, above every score, is null)",
        "any_finding": "all findings folded into one, fields as under findings.NAME",
        "by_view": "by view (PA, AP, unknown), most images first",
        "by_view.VIEW.images": "images of this view",
        "by_view.VIEW.patients": "their patients",
        "by_view.VIEW.mean_auroc": "as above, on these images only",
        "by_view.VIEW.mean_auroc_ci95": "as above",
        "by_view.VIEW.findings_scored": "how many findings the mean is over; compare means only "
        "where these agree",
        "by_view.VIEW.any_finding": "as above",
        "bootstrap": "how the intervals were drawn",
        "bootstrap.unit": '"patient", or "image" where patients are not known',
        "bootstrap.resamples": "draws",
        "bootstrap.seed": "seed of the draws",
    },
    "bundle manifest": {
        "format": '"hilum-bundle"',
        "format_version": "readers refuse versions they do not know",
        "architecture": "name of the network",
        "findings": "names of the outputs, in order",
        "dropout": "dropout before the head, in training",
        "preprocessing": "the whole chain as JSON",
        "weights_sha256": "SHA-256 of weights.safetensors",
        "outliers_sha256": "SHA-256 of outliers.safetensors; null without that score",
        "provenance": "settings, start weights, versions, split rule, counts of the data",
        "metrics": "epoch, valid_loss, valid_mean_auroc of the epoch kept",
    },
    "cache manifest": {
        "format_version": "readers refuse versions they do not know",
        "fingerprint": "hash of all that pixels and index depend on; the folder's name",
        "image_shape": "[C, H, W] of every image",
        "num_images": "images in all shards",
        "preprocessing": "the deterministic chain that made the pixels, as JSON",
        "shards": "list of files: name, num_images, sha256",
        "index": "the index file: name, num_images, sha256",
        "rejected": "images left out: {reason: count}",
    },
    "history.json": {
        "epoch": "counted from 0",
        "step": "optimizer steps so far, this epoch included",
        "train_loss": "mean over the epoch's known labels, while the weights move",
        "valid_loss": "on the whole validation split; null without one",
        "valid_mean_auroc": "likewise; null where no finding has both label values",
        "lr": "learning rate of the last step",
        "images_per_s": "training images per second over all ranks, validation not counted",
        "seconds": "time of the epoch, validation included",
    },
    "progress.json": {
        "phase": "what the ranks do: preparing, training, validating, done",
        "epoch": "counted from 0",
        "max_epochs": "epochs of the run",
        "step": "steps done in this epoch",
        "num_steps": "steps of an epoch",
        "images_per_s": "over all ranks",
        "loss": "mean training loss of the epoch so far",
        "lr": "learning rate now",
        "seconds_left": "estimate to the end of the last epoch; null before there is one",
    },
    "ingest": {
        "files": "files found",
        "ok": "files decoded",
        "rejected": "files refused",
        "reasons": "{code: count}, only codes that occurred",
    },
}


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
    parts = ["# Command line", group.help, "```\nhilum [--version] [--help] COMMAND ...\n```"]
    parts.append(
        _table(
            ("command", "what it does"),
            ([f"[{name}](#hilum-{name})", _first(c)] for name, c in group.commands.items()),
        )
    )
    parts += ["Every command also knows `--help`.", "## Exit codes", _exit_codes()]
    for name, command in group.commands.items():
        parts += _command(f"hilum {name}", command)
    return "\n\n".join(parts)


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
                ["`prediction`", "`array<float>`", "probability per finding, in model order"],
                ["`prediction_error`", "`string`", "why there is no prediction; null where one is"],
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
        "## RUN/progress.json",
        "Rewritten while ranks train, at most twice a second:",
        _fields("progress.json", _names(Progress)),
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
    rows = ([_option(p), _option_default(p), p.help or ""] for p in options)
    parts.append(_table(("option", "default", "meaning"), rows))
    return parts


def _metavar(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper())


def _option(parameter: Any) -> str:
    return f"`{', '.join([*parameter.opts, *parameter.secondary_opts])}`"


def _option_default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    if parameter.default in (None, ""):
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
        raise SystemExit(f"MEANINGS[{kind!r}] in scripts/reference.py does not fit: {differ}")
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
