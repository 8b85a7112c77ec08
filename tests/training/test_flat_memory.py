"""Memory over many epochs, and of data that is larger than memory; each in a process of its own."""

import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hilum.preprocessing import Chain, Resize
from hilum.training import CacheManifest
from hilum.training.shards import ShardFile

EPOCHS = 50
MB = 2**20

TRAIN = """
import json, sys, threading
from pathlib import Path
from hilum.training import LocalLauncher, train_worker

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

seen = {}
def watch():
    history = Path(sys.argv[1]) / "history.json"
    while not done.wait(0.005):
        try:
            epoch = len(json.loads(history.read_text())["epochs"])
        except (FileNotFoundError, ValueError):
            continue
        seen[epoch] = resident()

done = threading.Event()
watcher = threading.Thread(target=watch)
watcher.start()
LocalLauncher(num_threads=1).launch(train_worker, sys.argv[1], 1)
done.set()
watcher.join()
print(json.dumps(seen))
"""

READ_IN_LITTLE_MEMORY = """
import resource, sys
import numpy as np
from pathlib import Path
from hilum.training.placement import WholePlacement
from hilum.training.shards import open_cache
from hilum.training.batches import prefetch, rank_batches
from hilum.training.devices import HostImages

cache = open_cache(sys.argv[1], verify=False)
size = int(Path("/proc/self/statm").read_text().split()[0]) * 4096
limit = size + int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
placement = WholePlacement(cache=cache, num_ranks=1, seed=0)
order = placement.order(0)
steps = (order[at : at + 16] for at in range(0, len(order), 16))
seen = 0
for batch in prefetch(rank_batches(placement, 0, steps, HostImages(cache).gather)):
    seen += len(batch.images)
assert seen == len(cache)
print(cache.manifest.num_bytes)
"""


def run_python(code, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_flat_over_fifty_epochs(make_run):
    resident = run_python(TRAIN, make_run(max_epochs=EPOCHS, keep_checkpoints=1))
    sizes = {int(epoch): size for epoch, size in resident.items()}
    early = max(size for epoch, size in sizes.items() if 5 <= epoch <= 15)
    # Not the last: at the end the history is drawn, and matplotlib comes in.
    late = max(size for epoch, size in sizes.items() if EPOCHS - 10 <= epoch < EPOCHS)
    assert late - early < 8 * MB


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_images_larger_than_memory_are_read(tmp_path):
    """One GB of images in a process that may have 300 MB more than it starts with."""
    write_sparse_cache(tmp_path, num_images=1000, shard_images=125, side=1024)
    assert run_python(READ_IN_LITTLE_MEMORY, tmp_path, 300 * MB) == 1000 * MB


def write_sparse_cache(directory, num_images, shard_images, side):
    """A cache of black images, whose files are holes on disk."""
    (directory / "build").mkdir()
    shards = []
    for at in range(0, num_images, shard_images):
        path = directory / f"build/shard-{at:04d}.npy"
        shape = (shard_images, 1, side, side)
        np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
        shards.append(ShardFile(name=f"build/{path.name}", num_images=shard_images, sha256=""))
    rows = np.arange(num_images)
    index = pa.table(
        {
            "key": [f"image-{row:04d}" for row in rows],
            "split": ["train"] * num_images,
            "labels": pa.array([[0.0, 1.0]] * num_images, type=pa.list_(pa.float32())),
            "shard": pa.array(rows // shard_images, pa.int32()),
            "row": pa.array(rows % shard_images, pa.int32()),
        }
    )
    pq.write_table(index, directory / "build/index.parquet")
    manifest = CacheManifest(
        fingerprint="sparse",
        image_shape=(1, side, side),
        num_images=num_images,
        preprocessing=Chain((Resize(side, side),)).to_json(),
        shards=tuple(shards),
        index=ShardFile(name="build/index.parquet", num_images=num_images, sha256=""),
        rejected={},
    )
    (directory / "manifest.json").write_text(json.dumps(manifest.to_json()))
