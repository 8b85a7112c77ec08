"""What a user gives to spark-submit: trains on two ranks, and writes what it saw to a file.

cluster_script.py IMAGES OUT ANSWER
"""

import json
import sys
from pathlib import Path

import hilum
from cluster_driver import do_fit
from hilum.spark import local_session


def main() -> None:
    images, out, answer = sys.argv[1:]
    spark = local_session("yarn")
    found = do_fit(spark, {"images": images, "out": out})
    found |= {"prefix": sys.prefix, "hilum": hilum.__file__, "folder": str(Path.cwd())}
    Path(answer).write_text(json.dumps(found))
    spark.stop()


if __name__ == "__main__":
    main()
