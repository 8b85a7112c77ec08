"""A driver for the tests that kill: a session on a local cluster, a job per line of input.

{"run": DIR, "ranks": 2, "policy": {...}}  ->  {"digests": [...]} or {"error": ..., "kind": ...}
"""

import json
import logging
import os
import sys

from hilum.errors import HilumError
from hilum.spark import BarrierLauncher, local_session
from hilum.training import RetryPolicy, launch_with_retries, train_worker
from quick_java import QUICK_JAVA


def main() -> None:
    logging.basicConfig(format="%(levelname)s %(message)s")
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what Java prints is no answer
    quick = {"spark.executor.extraJavaOptions": QUICK_JAVA}
    spark = local_session("local-cluster[2,1,512]", memory="512m", config=quick)
    for line in sys.stdin:
        job = json.loads(line)
        try:
            policy = RetryPolicy(**job["policy"])
            launcher = BarrierLauncher(spark)
            digests = launch_with_retries(launcher, train_worker, job["run"], job["ranks"], policy)
            answer = {"digests": digests}
        except HilumError as error:
            answer = {"error": str(error), "kind": type(error).__name__}
        print(json.dumps(answer), file=answers, flush=True)
    spark.stop()


if __name__ == "__main__":
    main()
