"""NNModel.transform on images held by Spark against bare inference on a tensor, in one run.

    .venv/bin/python benchmarks/transform_against_bare_inference.py [--model resnet50]

Both predict the same images with the same weights in float32. The bare side is one process with
all cores as threads and its normalised float tensors in memory. Spark's side starts from image
structs that Spark has cached, in a session whose Python workers have loaded the model.
"""

import argparse
import json
import os
import time

import numpy as np
import torch
from pyspark.sql import functions as F

from hilum.findings import FINDINGS
from hilum.inference import ModelBundle
from hilum.models import architecture, build_classifier
from hilum.preprocessing import radiograph_chain
from hilum.spark import NNModel, local_session

SIZE = 240
SCHEMA = "image struct<origin:string,height:int,width:int,nChannels:int,mode:int,data:binary>"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--images", type=int, default=256)
    options = parser.parse_args()
    cores = os.cpu_count() or 1
    net = architecture(options.model)
    network, _ = build_classifier(net, len(FINDINGS), weights="random")
    bundle = ModelBundle(
        architecture=net.name,
        findings=FINDINGS,
        preprocessing=radiograph_chain(224, net.mean, net.std),
        weights=network.state_dict(),
    )
    spark = local_session(f"local[{cores}]")
    generator = np.random.default_rng(0)
    rows = [
        ({"origin": str(i), "height": SIZE, "width": SIZE, "nChannels": 1, "mode": 0,
          "data": generator.integers(0, 255, SIZE * SIZE, dtype=np.uint8).tobytes()},)
        for i in range(options.images)
    ]  # fmt: skip
    data = spark.createDataFrame(rows, SCHEMA).repartition(cores).cache()
    data.count()
    model = NNModel(bundle)

    def spark_images_per_s() -> float:
        started = time.perf_counter()
        counted = model.transform(data).select(F.sum(F.element_at("prediction", 1)), F.count("*"))
        assert counted.first()[1] == options.images
        return options.images / (time.perf_counter() - started)

    torch.set_num_threads(cores)
    network = network.to(memory_format=torch.channels_last).eval()
    images = torch.randn(options.images, 3, 224, 224)
    images = images.contiguous(memory_format=torch.channels_last)

    def bare_images_per_s() -> float:
        started = time.perf_counter()
        with torch.inference_mode():
            for at in range(0, options.images, 32):
                network(images[at : at + 32])
        return options.images / (time.perf_counter() - started)

    spark_images_per_s(), bare_images_per_s()  # warm
    pairs = [(bare_images_per_s(), spark_images_per_s()) for _ in range(3)]
    spark.stop()
    print(
        json.dumps(
            {
                "model": options.model,
                "bare_images_per_s": [round(bare, 1) for bare, _ in pairs],
                "transform_images_per_s": [round(ours, 1) for _, ours in pairs],
                "ratio_median": round(float(np.median([ours / bare for bare, ours in pairs])), 3),
            }
        )
    )


if __name__ == "__main__":
    main()
