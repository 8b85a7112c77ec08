"""What the engine adds to the arithmetic of a step, with 1 to 16 ranks on one machine.

    .venv/bin/python benchmarks/step_overhead.py [--quick] [--cluster]

The gradient exchange is real, the arithmetic a fixed delay (`delayed_network.py`), so that 16
ranks can be had on two cores. What the ranks do at the same time they do on the same cores: all
CPU time of the exchange is shared here and would not be on 16 machines. So the CPU seconds of a
rank are printed beside the time, and the same is run for a network of fewer parameters.
`--cluster` adds one row with ranks in a barrier stage of Spark executors (`local-cluster`).

Prints a table, and a line for results.md.
"""

import argparse
import json
import os
import platform
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from delayed_steps import Setting, measure_steps

from hilum.training import Launcher, LocalLauncher

Row = dict[str, Any]


def measure(launcher: Launcher, setting: Setting, num_ranks: int, where: str) -> Row:
    answers = launcher.launch(measure_steps, json.dumps(asdict(setting)), num_ranks)
    found = [json.loads(answer) for answer in answers]
    step_s = found[0]["step_s"]
    return {
        "where": where,
        "architecture": setting.architecture,
        "gradients_mb": round(found[0]["gradient_bytes"] / 1e6, 1),
        "ranks": num_ranks,
        "delay_ms": round(1000 * setting.delay_s, 1),
        "step_ms": round(1000 * step_s, 1),
        "overhead_ms": round(1000 * (step_s - setting.delay_s), 1),
        "cpu_ms_per_rank": round(1000 * sum(one["cpu_s"] for one in found) / num_ranks, 1),
        "efficiency": round(setting.delay_s / step_s, 3),
    }


def measure_on_executors(setting: Setting, num_ranks: int) -> Row:
    # Executors import this folder's modules, and each has one core, one rank.
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")])
    )
    from hilum.spark import local_session
    from hilum.spark.barrier import BarrierLauncher

    spark = local_session(f"local-cluster[{num_ranks},1,1024]")
    try:
        while spark.sparkContext._jsc.sc().getExecutorMemoryStatus().size() <= num_ranks:
            time.sleep(0.2)  # the driver counts as one
        return measure(BarrierLauncher(spark), setting, num_ranks, "executors")
    finally:
        spark.stop()


def show(row: Row) -> None:
    print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument(
        "--architectures", nargs="+", default=["resnet50", "densenet121", "efficientnet_lite0"]
    )
    parser.add_argument("--delay-ms", type=float, nargs="+", default=[400.0])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--cluster", action="store_true", help="also four Spark executors")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    ranks = options.ranks if not options.quick else [1, 2]
    base = Setting(steps=3 if options.quick else options.steps)
    rows = []
    for architecture in options.architectures[: 1 if options.quick else None]:
        for delay_ms in options.delay_ms:
            setting = replace(base, architecture=architecture, delay_s=delay_ms / 1000)
            for num_ranks in ranks:
                rows.append(measure(LocalLauncher(num_threads=1), setting, num_ranks, "processes"))
                show(rows[-1])
    if options.cluster:
        setting = replace(base, architecture=options.architectures[-1])
        rows.append(measure_on_executors(setting, 2 if options.quick else 4))
        show(rows[-1])
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {sys.version.split()[0]}"
    print(json.dumps({"script": "step_overhead.py", "machine": machine, "rows": rows}))


if __name__ == "__main__":
    main()
