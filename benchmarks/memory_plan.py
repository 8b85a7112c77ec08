"""How much memory a rank takes, and how much the plan said: python benchmarks/memory_plan.py.

Each line is a run of a few steps in a process of its own, on images of noise. The peak is the
kernel's (ru_maxrss); it includes the rank's first checkpoint.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

CASES = (
    ("resnet50", 16, "float32"),
    ("resnet50", 16, "auto"),
    ("densenet121", 16, "auto"),
    ("efficientnet_lite0", 32, "auto"),
)
SIDE_PX = 224


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="the smallest case only")
    arguments.add_argument("--case", nargs=3, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.case:
        name, batch, precision = options.case
        print(json.dumps(run_case(name, int(batch), precision)))
        return
    print(f"{'network':20} {'batch':>5} {'planned GB':>10} {'taken GB':>9} {'ratio':>6}")
    for name, batch, precision in CASES[-1:] if options.quick else CASES:
        code = [sys.executable, __file__, "--case", name, str(batch), precision]
        done = subprocess.run(code, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        planned, taken = found["planned"] / 1e9, found["taken"] / 1e9
        label = f"{name} {precision}"
        print(f"{label:20} {batch:5} {planned:10.2f} {taken:9.2f} {planned / taken:6.2f}")


def run_case(name: str, batch: int, precision: str) -> dict[str, int]:
    import training_cases
    from hilum.models import build_classifier
    from hilum.preprocessing import Chain, ChannelNormalize, GreyToRGB, Resize
    from hilum.training import LocalLauncher, TrainJob, open_cache, prepare_run, train_worker
    from hilum.training.memory import peak_memory_bytes, plan_training

    chain = Chain(
        (Resize(SIDE_PX, SIDE_PX), GreyToRGB(), ChannelNormalize((0.5,) * 3, (0.25,) * 3))
    )
    training_cases.SIZE = SIDE_PX
    with tempfile.TemporaryDirectory() as scratch:
        training_cases.write_cache(f"{scratch}/cache", num_images=4 * batch, splits=("train",))
        config = replace(
            training_cases.config(max_epochs=1, global_batch_size=batch, precision=precision),
            architecture=name,
            preprocessing=chain,
        )
        model, _ = build_classifier(name, len(config.outputs), weights="random")
        run = f"{scratch}/run"
        prepare_run(run, TrainJob(config=config, cache_directory=f"{scratch}/cache"), model)
        # The plan is made after the run, in the same process, so that it does not add to the peak.
        LocalLauncher().launch(train_worker, run, 1)
        taken = peak_memory_bytes()
        plan = plan_training(config, model, open_cache(f"{scratch}/cache"), num_ranks=1)
    return {"planned": plan.num_bytes, "taken": taken}


if __name__ == "__main__":
    main()
