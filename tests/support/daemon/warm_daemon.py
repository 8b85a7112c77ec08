"""Parent of Spark's Python workers that has imported torch, so that each of them need not.

Spark forks its workers from one process, and workers that were idle for a minute are gone. Torch
starts no thread with OMP_NUM_THREADS=1, so there is none for the fork to lose. In a folder of its
own, which is all that workers get to import from.
"""

import os

__all__: list[str] = []


def main() -> None:
    # Spark reads the port from standard output; what a library prints there would be taken for it.
    answers = os.dup(1)
    os.dup2(2, 1)
    import torch  # noqa: F401

    os.dup2(answers, 1)
    os.close(answers)
    from pyspark.daemon import manager

    manager()


if __name__ == "__main__":
    main()
