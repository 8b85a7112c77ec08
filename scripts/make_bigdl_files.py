"""Write tests/models/data/small.bigdl with BigDL 2.4 itself, and what it makes of an image.

BigDL is no dependency of Hilum. Run this in an environment of its own, with Java 17 on the path and
`pip install --no-deps bigdl-dllib-spark3==2.4.0 bigdl-core==2.3.0 pyspark==3.1.3 py4j==0.10.9`
and numpy. Only the jars are used: Scala is called through py4j, as BigDL's own Python API does.
The network has the containers and kinds of module that ResNet-50 and Inception are made of there.
"""

import argparse
from pathlib import Path
from typing import Any

import bigdl
import numpy as np
import py4j.java_gateway as py4j
import pyspark

OUTPUTS = ("stem", "norm1", "inception", "block", "pool4", "prob")
_JVM = ["-Dbigdl.localMode=true", "-Dbigdl.coreNumber=1", "-Xmx1g"]
_JVM += [f"--add-opens=java.base/java.{name}=ALL-UNNAMED" for name in ("lang", "nio", "util")]


class BigDL:
    """Modules by the methods of PythonBigDL, with names and random weights."""

    def __init__(self) -> None:
        jars = [str(jar) for jar in Path(next(iter(bigdl.__path__))).rglob("*.jar")]
        jars.append(str(Path(pyspark.__file__).parent / "jars" / "*"))
        port = py4j.launch_gateway(classpath=":".join(jars), javaopts=_JVM, die_on_exit=True)
        parameters = py4j.GatewayParameters(port=port, auto_convert=True)
        self.gateway = py4j.JavaGateway(gateway_parameters=parameters)
        package = self.gateway.jvm.com.intel.analytics.bigdl.dllib.utils.python.api
        self.api = package.PythonBigDL.ofFloat()
        self.package = package
        self.api.initEngine()
        self.random = np.random.default_rng(2018)

    def tensor(self, values: Any) -> Any:
        """A JTensor of these numbers."""
        array = np.ascontiguousarray(values, ">f4")
        numbers = self.gateway.new_array(self.gateway.jvm.float, array.size)
        self.gateway.jvm.java.nio.ByteBuffer.wrap(array.tobytes()).asFloatBuffer().get(numbers)
        shape = self.gateway.new_array(self.gateway.jvm.int, array.ndim)
        for axis, size in enumerate(array.shape):
            shape[axis] = size
        return self.package.JTensor(numbers, shape, "float", None)

    def array(self, tensor: Any) -> Any:
        """The numbers of a JTensor."""
        shape = tuple(tensor.shape())
        buffer = self.gateway.jvm.java.nio.ByteBuffer.allocate(4 * int(np.prod(shape)))
        buffer.asFloatBuffer().put(tensor.storage())
        return np.frombuffer(bytes(buffer.array()), ">f4").reshape(shape).astype(np.float32)

    def make(self, kind: str, name: str, *arguments: Any) -> Any:
        """A module, named; its weights are random."""
        module = getattr(self.api, f"create{kind}")(*arguments)
        module.setName(name)
        weights = self.api.getWeights(module)
        if weights:
            fresh = [0.5 * self.random.standard_normal(tuple(w.shape())) for w in weights]
            self.api.setWeights(module, [self.tensor(values) for values in fresh])
        return module

    def conv(self, name: str, sizes: tuple[int, int], kernel: int, **options: int) -> Any:
        """A convolution with bias."""
        stride, pad, groups = (options.get(key, default) for key, default in _CONV)
        numbers = (*sizes, kernel, kernel, stride, stride, pad, pad, groups)
        nothing = [None] * 6
        return self.make("SpatialConvolution", name, *numbers, True, *nothing, True, "NCHW")

    def norm(self, name: str, channels: int) -> Any:
        """A batch norm with statistics."""
        nothing = [None] * 4
        module = self.make(
            "SpatialBatchNormalization", name, channels, 1e-3, 0.1, True, *nothing, "NCHW"
        )
        self.api.setRunningMean(module, self.tensor(self.random.standard_normal(channels)))
        self.api.setRunningStd(module, self.tensor(self.random.uniform(0.5, 2, channels)))
        return module

    def average(self, name: str, kernel: int, stride: int, pad: int, *flags: bool) -> Any:
        """An average pool; flags are global, ceil, count of the border."""
        sizes = (kernel, kernel, stride, stride, pad, pad)
        return self.make("SpatialAveragePooling", name, *sizes, *flags, True, "NCHW")

    def largest(self, name: str, kernel: int, stride: int, pad: int, ceil: bool) -> Any:
        """A maximum pool."""
        sizes = (kernel, kernel, stride, stride, pad, pad)
        return self.make("SpatialMaxPooling", name, *sizes, ceil, "NCHW")

    def holds(self, container: Any, *modules: Any) -> Any:
        """The container, filled."""
        for module in modules:
            container.add(module)
        return container

    def sequence(self, name: str, *modules: Any) -> Any:
        """A Sequential."""
        return self.holds(self.make("Sequential", name), *modules)

    def node(self, module: Any, *read: Any) -> Any:
        """A place in a graph."""
        return self.api.createNode(module, list(read))


_CONV = (("stride", 1), ("pad", 0), ("groups", 1))


def containers(make: BigDL) -> dict[str, Any]:
    """Modules with modules within."""
    stem = make.sequence(
        "stem",
        make.conv("stem/conv", (3, 8), 3, stride=2, pad=-1),
        make.norm("stem/bn", 8),
        make.make("ReLU6", "stem/relu6", False),
    )
    inception = make.holds(
        make.make("Concat", "inception", 2),
        make.sequence("inception/a", make.conv("inception/1x1", (8, 4), 1)),
        make.sequence(
            "inception/b",
            make.conv("inception/3x3", (8, 4), 3, pad=1, groups=2),
            make.make("ReLU", "inception/relu", False),
        ),
        make.sequence(
            "inception/c",
            make.largest("inception/pool", 3, 1, 1, False),
            make.conv("inception/pool_proj", (8, 2), 1),
        ),
        make.average("inception/mean", 3, 1, -1, False, False, False),
    )
    fork = make.holds(
        make.make("ConcatTable", "block/fork"),
        make.sequence(
            "block/left",
            make.conv("block/conv", (18, 18), 3, pad=-1),
            make.make("LeakyReLU", "block/leaky", 0.1, False),
        ),
        make.make("Identity", "block/right"),
    )
    block = make.sequence("block", fork, make.make("CAddTable", "block/add", False))
    head = make.sequence(
        "fc",
        make.make("InferReshape", "fc/view", [-1, 36], False),
        make.make("Linear", "fc/linear", 36, 5, True, *[None] * 6),
    )
    return {"stem": stem, "inception": inception, "block": block, "fc": head}


def build(make: BigDL) -> tuple[Any, dict[str, Any]]:
    """The input, and the nodes by name."""
    image = make.api.createInput()
    parts = containers(make)
    chain = {
        "stem": parts["stem"],
        "pool1": make.largest("pool1", 3, 2, 0, True),
        "norm1": make.make("SpatialCrossMapLRN", "norm1", 5, 0.1, 0.75, 1.0, "NCHW"),
        "inception": parts["inception"],
        "block": parts["block"],
    }
    nodes: dict[str, Any] = {}
    last = image
    for name, module in chain.items():
        last = nodes[name] = make.node(module, last)
    join = make.make("JoinTable", "join", 1, 3)
    last = nodes["join"] = make.node(join, nodes["block"], nodes["inception"])
    chain = {
        "scale": make.make("Scale", "scale", [1, 36, 1, 1]),
        "pool4": make.average("pool4", 3, 2, 1, False, True, False),
        "pool5": make.average("pool5", 1, 1, 0, True, False, True),
        "drop": make.make("Dropout", "drop", 0.4, False, True),
        "fc": parts["fc"],
        "prob": make.make("LogSoftMax", "prob"),
    }
    for name, module in chain.items():
        last = nodes[name] = make.node(module, last)
    return image, nodes


def main() -> None:
    """Write the model and the reference values."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("tests/models/data"))
    folder = parser.parse_args().folder.resolve()
    make = BigDL()
    image, nodes = build(make)
    values = {"image": make.random.standard_normal((2, 3, 19, 16)).astype(np.float32)}
    model = make.api.createModel([image], [nodes["prob"]])
    make.api.evaluate(model)
    folder.mkdir(parents=True, exist_ok=True)
    make.api.saveBigDLModule(model, str(folder / "small.bigdl"), None, True)
    for name in OUTPUTS:
        part = make.api.createModel([image], [nodes[name]])
        make.api.evaluate(part)
        (given,) = make.api.modelForward(part, [make.tensor(values["image"])], False)
        values[name] = make.array(given)
    np.savez_compressed(folder / "small_bigdl_io.npz", **values)


if __name__ == "__main__":
    main()
