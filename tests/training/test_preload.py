"""The server that ranks are forked from starts whatever optional packages do."""

import os
import subprocess
import sys

SCRIPT = """
from hilum.training import LocalLauncher

def rank(world, argument):
    return f"{argument}{world.rank}"

if __name__ == "__main__":
    print(LocalLauncher(num_threads=1).launch(rank, "rank-", 2))
"""


def test_ranks_start_where_tensorboard_fails_to_import(tmp_path):
    package = tmp_path / "tensorboard"
    package.mkdir()
    (package / "__init__.py").write_text('raise TypeError("Descriptors cannot be created")\n')
    script = tmp_path / "two_ranks.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, script],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.strip() == "['rank-0', 'rank-1']", done.stderr[-2000:]
