"""How long a step takes with N nodes: a model of few parts, each of them measured.

    .venv/bin/python benchmarks/scaling_model.py --parts PARTS.json   (a line of limited_links.py)

A step is arithmetic, and beside it a queue of buckets. A bucket of b bytes is ready when the
backward pass has come past its layers; buckets are exchanged one after the other; ring all-reduce
sends 2 (N - 1) / N * b from every node (Patarasuk & Yuan 2009), which takes the longer of

    wire      bytes with their frames' headers over the link's rate
    software  seconds per byte of gloo, measured without a limit on the link

and 2 (N - 1) times the latency of a message. The step ends when arithmetic and queue are done, and
the rest of the loop (measured with one rank) comes on top. On a cluster the CPU seconds of the
exchange are taken from the arithmetic's cores, and the arithmetic is that of the slowest of N
nodes, whose times scatter by `jitter`. Left out: validation and checkpoints, congestion in the
switch, several ranks on a node.
"""

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

from delayed_network import FORWARD_SHARE, layers_of
from delayed_steps import Setting

TCP_BYTES, FRAME_BYTES, ON_WIRE_BYTES = 1448, 1514, 1538  # MTU 1500; frame; with preamble and gap


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What was measured between two hosts without a limit, per byte of float32 gradient.

    Attributes:
        software_s_per_byte: wall seconds of the exchange, by compression, per byte sent.
        cpu_s_per_byte: likewise CPU seconds of one rank.
        message_s: latency of one message of the ring.
        rest_s: what the loop adds to the delay with one rank.
    """

    software_s_per_byte: dict[str, float]
    cpu_s_per_byte: dict[str, float]
    message_s: float
    rest_s: float


def sent_share(num_ranks: int) -> float:
    """Bytes every rank sends in a ring all-reduce, over the bytes it has."""
    return 2 * (num_ranks - 1) / num_ranks


def ready_buckets(setting: Setting) -> list[tuple[float, int]]:
    """(seconds after the step's start, bytes) of each of DDP's buckets, in their order.

    DDP fills a bucket in the order in which gradients come, and closes it at its size or above.
    """
    limit = setting.bucket_mb * 2**20 if setting.overlapped else float("inf")
    buckets, filled = [], 0
    now = setting.delay_s * FORWARD_SHARE
    for layer in reversed(layers_of(setting.architecture)):
        now += layer.share * setting.delay_s * (1 - FORWARD_SHARE)
        for _, shape in layer.parameters:
            size = 4
            for extent in shape:
                size *= extent
            filled += size
            if filled >= limit:
                buckets.append((now, filled))
                filled = 0
    return buckets + ([(setting.delay_s, filled)] if filled else [])


def exchange_s(
    parts: Parts,
    num_bytes: int,
    compression: str,
    num_ranks: int,
    *,
    gbit_per_s: float | None,
    frame_bytes: int,
    cores: float,
) -> float:
    """Seconds to exchange one bucket; `cores`: those that all ranks of the machine share."""
    sent = num_bytes * sent_share(num_ranks)
    software_s = sent * max(
        parts.software_s_per_byte[compression],
        parts.cpu_s_per_byte[compression] * num_ranks / cores,
    )
    wire_s = 0.0
    if gbit_per_s is not None:
        on_wire = sent * (0.5 if compression == "bfloat16" else 1.0) * frame_bytes / TCP_BYTES
        wire_s = on_wire * 8 / (gbit_per_s * 1e9)
    return max(software_s, wire_s) + 2 * (num_ranks - 1) * parts.message_s


def predicted_step_s(
    parts: Parts,
    setting: Setting,
    num_ranks: int,
    gbit_per_s: float | None,
    *,
    frame_bytes: int = FRAME_BYTES,
    cores: float | None = None,
) -> float:
    """Seconds of a step; by default all ranks share this machine's cores."""
    free_s = 0.0
    if num_ranks > 1:
        for ready_s, num_bytes in ready_buckets(setting):
            free_s = max(free_s, ready_s) + exchange_s(
                parts,
                num_bytes,
                setting.compression,
                num_ranks,
                gbit_per_s=gbit_per_s,
                frame_bytes=frame_bytes,
                cores=cores or os.cpu_count() or 1,
            )
    return max(setting.delay_s, free_s) + parts.rest_s


def cluster_step_s(
    parts: Parts,
    setting: Setting,
    num_nodes: int,
    gbit_per_s: float,
    *,
    cores_per_node: int,
    jitter: float,
) -> float:
    """Seconds of a step of nodes of their own, one rank on each, all cores at work."""
    gradient_bytes = sum(size for _, size in ready_buckets(setting))
    cpu_s = parts.cpu_s_per_byte[setting.compression] * gradient_bytes * sent_share(num_nodes)
    # Blom's approximation of the largest of N normal values.
    slowest = 1 + jitter * NormalDist().inv_cdf((num_nodes - 0.375) / (num_nodes + 0.25))
    busy = Setting(
        architecture=setting.architecture,
        delay_s=setting.delay_s * slowest + cpu_s / cores_per_node,
        overlapped=setting.overlapped,
        bucket_mb=setting.bucket_mb,
        compression=setting.compression,
    )
    return predicted_step_s(
        parts, busy, num_nodes, gbit_per_s, frame_bytes=ON_WIRE_BYTES, cores=float("inf")
    )


def cluster_rows(
    parts: Parts, node_images_per_s: Sequence[float], cores_per_node: int, jitter: float
) -> list[dict[str, Any]]:
    """Speed-up from 4 to 16 nodes with 128 images a node and step, as the paper scaled."""
    rows = []
    for images_per_s in node_images_per_s:
        for gbit in (10.0, 25.0):
            for compression in ("none", "bfloat16"):
                for overlapped in (False, True):
                    setting = Setting(
                        delay_s=128 / images_per_s, compression=compression, overlapped=overlapped
                    )
                    few, many = (
                        cluster_step_s(
                            parts, setting, nodes, gbit,
                            cores_per_node=cores_per_node, jitter=jitter,
                        )
                        for nodes in (4, 16)
                    )  # fmt: skip
                    rows.append(
                        {
                            "node_images_per_s": images_per_s,
                            "gbit_per_s": gbit,
                            "compression": compression,
                            "exchange": "during backward" if overlapped else "after backward",
                            "step_ms_4": round(1000 * few, 1),
                            "step_ms_16": round(1000 * many, 1),
                            "speed_up_4_to_16": round(4 * few / many, 2),
                            "efficiency_16": round(setting.delay_s / many, 3),
                        }
                    )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", type=Path, required=True)
    parser.add_argument("--node-images-per-s", type=float, nargs="+", default=[20, 100, 320])
    parser.add_argument("--cores-per-node", type=int, default=32)
    parser.add_argument("--jitter", type=float, default=0.02, help="standard deviation over mean")
    options = parser.parse_args()
    parts = Parts(**json.loads(options.parts.read_text())["parts"])
    rows = cluster_rows(parts, options.node_images_per_s, options.cores_per_node, options.jitter)
    for row in rows:
        print("  ".join(f"{key} {value}" for key, value in row.items()))
    print(json.dumps({"script": "scaling_model.py", "jitter": options.jitter, "rows": rows}))


if __name__ == "__main__":
    main()
