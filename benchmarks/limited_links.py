"""The same steps between hosts whose links are the limit: network namespaces with a rate each way.

    sudo .venv/bin/python benchmarks/limited_links.py [--quick]      (Linux, root, iproute2)

Every rank is a host of its own with an address of its own. Both directions of its link are held to
the rate (token bucket), so that gloo's exchange between them costs what the wire costs, whatever
the cores do. Measured for each rate: exchange alone (delay 0), exchange after the backward pass,
exchange during it, with float32 and with bfloat16 gradients; then compared with what the model of
`scaling_model.py` says from parts measured without a limit. Namespaces are removed at the end.

Prints the parts, for `scaling_model.py --parts`, a table, and a line for results.md.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from delayed_steps import Setting, measure_steps
from scaling_model import Parts, predicted_step_s, sent_share

from hilum.training import World
from hilum.training.launch import run_rank
from hilum.training.world import serve_rendezvous

NET = "10.77.0"
Row = dict[str, Any]


@contextmanager
def hosts(num_hosts: int, rate_gbit: float | None) -> Iterator[list[str]]:
    """Namespaces joined by a bridge, each link limited both ways; yields their names."""
    stamp = f"hl{os.getpid() % 10000}"
    names = [f"{stamp}-{i}" for i in range(num_hosts)]
    bridge = f"{stamp}b"
    try:
        _ip("link", "add", bridge, "type", "bridge")
        _ip("link", "set", bridge, "up")
        for i, name in enumerate(names):
            outer = f"{stamp}v{i}"
            _ip("netns", "add", name)
            _ip(*f"link add {outer} type veth peer name eth0 netns {name}".split())
            _ip(*f"link set {outer} master {bridge} up".split())
            _ip("-n", name, "addr", "add", f"{NET}.{10 + i}/24", "dev", "eth0")
            _ip("-n", name, "link", "set", "eth0", "up")
            _ip("-n", name, "link", "set", "lo", "up")
            if rate_gbit is not None:
                bucket = f"root tbf rate {rate_gbit}gbit burst 1mb latency 50ms".split()
                _run("ip", "netns", "exec", name, "tc", "qdisc", "add", "dev", "eth0", *bucket)
                _run("tc", "qdisc", "add", "dev", outer, *bucket)
        yield names
    finally:
        # A namespace's own links would go with it, but later.
        for link in (*(f"{stamp}v{i}" for i in range(num_hosts)), bridge):
            subprocess.run(["ip", "link", "del", link], capture_output=True, check=False)
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def _ip(*arguments: str) -> None:
    _run("ip", *arguments)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr.strip()} (root and iproute2 needed)")


def run_on(names: list[str], settings: list[Setting]) -> list[list[dict[str, Any]]]:
    """Measure each setting with one rank in every namespace; a list of ranks per setting."""
    with tempfile.TemporaryDirectory() as folder:
        job = Path(folder, "settings.json")
        job.write_text(json.dumps([asdict(setting) for setting in settings]))
        command = [sys.executable, __file__, "--host-of", folder, "--ranks", str(len(names))]
        processes = [
            subprocess.Popen(["ip", "netns", "exec", name, *command, "--rank", str(rank)])
            for rank, name in enumerate(names)
        ]
        try:
            failed = [process.wait() for process in processes if process.wait() != 0]
        finally:
            for process in processes:
                process.kill()
                process.wait()
        if failed:
            raise SystemExit(f"a rank ended with {failed[0]}")
        files = [Path(folder, f"{rank}.json") for rank in range(len(names))]
        answers = [json.loads(file.read_text()) for file in files]
    return [list(ranks) for ranks in zip(*answers, strict=True)]


def be_a_host(folder: Path, rank: int, num_ranks: int) -> None:
    """One rank of all settings: the child process inside a namespace."""
    settings = json.loads((folder / "settings.json").read_text())
    answers = []
    for number, setting in enumerate(settings):
        meeting, store = folder / f"meeting-{number}", None
        if rank == 0:
            store, rendezvous = serve_rendezvous(f"{NET}.10")
            meeting.with_suffix(".new").write_text(rendezvous)
            meeting.with_suffix(".new").rename(meeting)
        while not meeting.exists():
            time.sleep(0.02)
        world = World(
            rank=rank, num_ranks=num_ranks, host=f"{NET}.{10 + rank}",
            rendezvous=meeting.read_text(),
        )  # fmt: skip
        answers.append(json.loads(run_rank(measure_steps, world, json.dumps(setting), store)))
    (folder / f"{rank}.json").write_text(json.dumps(answers))


def settings_of(base: Setting) -> list[Setting]:
    return [
        replace(base, compression=compression, **kind)
        for compression in ("none", "bfloat16")
        for kind in ({"delay_s": 0.0}, {"overlapped": False}, {"overlapped": True})
    ]


def rows_of(names: list[str], rate: float | None, settings: list[Setting]) -> list[Row]:
    """One row a setting, from what all ranks measured."""
    rows = []
    for setting, ranks in zip(settings, run_on(names, settings), strict=True):
        during = "during backward" if setting.overlapped else "after backward"
        rows.append(
            {
                "hosts": len(names),
                "gbit_per_s": rate,
                "compression": setting.compression,
                "exchange": "alone" if setting.delay_s == 0 else during,
                "step_ms": round(1000 * ranks[0]["step_s"], 1),
                "cpu_ms_per_rank": round(1000 * sum(r["cpu_s"] for r in ranks) / len(ranks), 1),
                "message_ms": round(1000 * ranks[0]["message_s"], 3),
                "gradient_mb": round(ranks[0]["gradient_bytes"] / 1e6, 3),
            }
        )
    return rows


def measure_parts(base: Setting) -> Parts:
    """The model's parts: one host with the delay, and two without delay and without a limit."""
    alone = [replace(base, delay_s=0.0, compression=kind) for kind in ("none", "bfloat16")]
    with hosts(2, None) as names:
        (single,), (idle,) = run_on(names[:1], [base, alone[0]])
        pairs = run_on(names, alone)
    sent = single["gradient_bytes"] * sent_share(2)
    rest_cpu_s = idle["cpu_s"]  # of the loop itself, without any exchange
    return Parts(
        software_s_per_byte={
            setting.compression: (ranks[0]["step_s"] - idle["step_s"]) / sent
            for setting, ranks in zip(alone, pairs, strict=True)
        },
        cpu_s_per_byte={
            setting.compression: (sum(rank["cpu_s"] for rank in ranks) / 2 - rest_cpu_s) / sent
            for setting, ranks in zip(alone, pairs, strict=True)
        },
        message_s=pairs[0][0]["message_s"],
        rest_s=single["step_s"] - base.delay_s,
    )


def with_prediction(row: Row, setting: Setting, parts: Parts) -> Row:
    predicted_s = predicted_step_s(parts, setting, row["hosts"], row["gbit_per_s"])
    error = predicted_s * 1000 / row["step_ms"] - 1
    return row | {"predicted_ms": round(1000 * predicted_s, 1), "error": f"{error:+.1%}"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--gbit", type=float, nargs="+", default=[1.0, 2.5])
    parser.add_argument("--architecture", default="resnet50")
    parser.add_argument("--delay-ms", type=float, default=800.0)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--host-of", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--rank", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--ranks", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.host_of:
        return be_a_host(options.host_of, options.rank, options.ranks)
    base = Setting(
        architecture=options.architecture,
        delay_s=options.delay_ms / 1000,
        steps=3 if options.quick else options.steps,
    )
    settings = settings_of(base)
    counts = [2] if options.quick else options.hosts
    # Ended from outside, it still removes its namespaces.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    parts = measure_parts(base)
    print(json.dumps({"parts": asdict(parts)}), flush=True)
    rows: list[Row] = []
    for rate in options.gbit[: 1 if options.quick else None]:
        for count in counts:
            with hosts(count, rate) as names:
                found = rows_of(names, rate, settings)
            rows += [with_prediction(*pair, parts) for pair in zip(found, settings, strict=True)]
            for row in rows[-len(found) :]:
                print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    print(json.dumps({"script": "limited_links.py", "parts": asdict(parts), "rows": rows}))


if __name__ == "__main__":
    main()
