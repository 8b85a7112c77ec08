"""Net: models of other programs and of 2019, and what could be done to their graphs."""

from collections.abc import Sequence
from typing import Any

from hilum import storage
from hilum.errors import InvalidValueError, require
from hilum.inference import ModelBundle, load_bundle, save_bundle
from hilum.models.recipes import LoadedModel
from hilum.zoo.keras import NetLayer

__all__ = ["GraphNet", "Net", "TrainedNet"]


class GraphNet:
    """A loaded network, which can be cut and frozen by the names of its nodes.

    Attributes:
        loaded: the network as the rest of Hilum knows it.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self.loaded = loaded

    def new_graph(self, outputs: Sequence[str], bigdl_type: str = "float") -> "GraphNet":
        """Copy the part that ends at these nodes; unlike in 2019 this network stays whole.

        Args:
            outputs: names of its own, or those of 2019's files: "pool5", "pool5/drop_7x7_s1".
            bigdl_type: has no effect.
        """
        from hilum.models.surgery import cut

        return GraphNet(cut(self.loaded, *_listed(outputs)))

    def to_keras(self) -> NetLayer:
        """The network as one layer: `net.to_keras()(input)`."""
        return NetLayer(self.loaded)

    def freeze_up_to(self, names: Sequence[str]) -> "GraphNet":
        """Let these nodes, and all that they are computed from, learn nothing; returns itself."""
        from hilum.models.surgery import freeze

        freeze(self.loaded, up_to=_listed(names))
        return self

    def freeze(self, names: Sequence[str] | None = None) -> "GraphNet":
        """Let these layers, or all, learn nothing; returns itself."""
        from hilum.models.surgery import freeze

        if names is None:
            self.loaded.network.requires_grad_(False)
        else:
            freeze(self.loaded, names=_listed(names))
        return self

    def unfreeze(self, names: Sequence[str] | None = None) -> "GraphNet":
        """Let these layers, or all, learn again; returns itself."""
        from hilum.models.surgery import unfreeze

        unfreeze(self.loaded, None if names is None else _listed(names))
        return self


class TrainedNet:
    """A trained model as `nnModel.model` gave it: saved and loaded whole, preprocessing included.

    Attributes:
        bundle: the model as the rest of Hilum knows it.
    """

    def __init__(self, bundle: ModelBundle) -> None:
        self.bundle = bundle

    def saveModel(
        self, modelPath: str, weightPath: str | None = None, over_write: bool = False
    ) -> "TrainedNet":
        """Write the model to the directory `modelPath`: a bundle, which `hilum predict` takes too.

        Args:
            modelPath: a path, or an address of HDFS or S3.
            weightPath: has no effect; the weights lie in the directory.
            over_write: replace what is there.

        Raises:
            InvalidValueError: something is there.
        """
        if storage.exists(modelPath):
            require(over_write, "modelPath", "free, without over_write=True", modelPath)
            storage.delete_tree(modelPath)
        save_bundle(self.bundle, modelPath)
        return self


class Net:
    """Loads networks. Where a path is asked for, the name of a topology ("resnet50") is taken too.

    The weights of a name are those its library publishes, downloaded once; where they cannot be
    had the start is random, with a warning.
    """

    @staticmethod
    def load(
        model_path: str, weight_path: str | None = None, bigdl_type: str = "float"
    ) -> TrainedNet:
        """Load what `saveModel` wrote.

        Args:
            model_path: the directory.
            weight_path: has no effect; the weights lie in the directory.
            bigdl_type: has no effect.

        Raises:
            InvalidValueError: it holds no model; one of another program needs its own call.
        """
        if not storage.exists(storage.join(model_path, "manifest.json")):
            raise InvalidValueError(
                f"model_path must be what saveModel wrote. Got {model_path!r}. "
                "Hint: Net.load_bigdl, load_caffe, load_tf, load_torch and load_keras read the "
                "files of other programs, those that BigDL's saveModel wrote among them."
            )
        return TrainedNet(load_bundle(model_path))

    @staticmethod
    def load_bigdl(
        model_path: str, weight_path: str | None = None, bigdl_type: str = "float"
    ) -> GraphNet:
        """Load a model in BigDL's own format, whose weights may lie in a second file.

        For a name, `weight_path` is "auto", "published", "random" or a file of tensors.
        """
        return _loaded(model_path, weights="auto" if weight_path is None else weight_path)

    @staticmethod
    def load_caffe(def_path: str, model_path: str, bigdl_type: str = "float") -> GraphNet:
        """Load a Caffe network from prototxt and caffemodel."""
        return _loaded(model_path, definition=def_path)

    @staticmethod
    def load_tf(
        path: str,
        inputs: Sequence[str] | None = None,
        outputs: Sequence[str] | None = None,
        byte_order: str = "little_endian",
        bin_file: str | None = None,
        bigdl_type: str = "float",
    ) -> GraphNet:
        """Load a frozen TensorFlow graph.

        Args:
            path: the .pb file.
            inputs: names of nodes that images go into.
            outputs: names of nodes that come out.
            byte_order: "little_endian"; no other machine writes such files today.
            bin_file: None; weights beside the graph are BigDL's own dump.
            bigdl_type: has no effect.
        """
        require(byte_order == "little_endian", "byte_order", "little_endian", byte_order)
        require(bin_file is None, "bin_file", "None", bin_file, hint="freeze the graph instead")
        return _loaded(path, inputs=inputs, outputs=outputs)

    @staticmethod
    def load_torch(path: str, bigdl_type: str = "float") -> GraphNet:
        """Load a network of Lua Torch7 (.t7), or of PyTorch where the file is one of its own."""
        return _loaded(path)

    @staticmethod
    def load_keras(
        json_path: str | None = None,
        hdf5_path: str | None = None,
        by_name: bool = False,
        bigdl_type: str = "float",
    ) -> GraphNet:
        """Load a Keras model: one .keras or .h5 file, or JSON and weights.

        Unlike in 2019 the result can be cut and frozen. `by_name` has no effect.
        """
        if hdf5_path is None and json_path is None:
            raise InvalidValueError("hdf5_path must be given. Got None.")
        if hdf5_path is None or json_path is None:
            return _loaded(str(hdf5_path or json_path))
        return _loaded(hdf5_path, definition=json_path)


def _loaded(path_or_name: str, **options: Any) -> GraphNet:
    from hilum.models import load

    return GraphNet(load(path_or_name, **options))


def _listed(names: Sequence[str] | str | None) -> list[str]:
    if names is None:
        return []
    return [names] if isinstance(names, str) else list(names)
