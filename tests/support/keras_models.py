"""Models that Keras itself builds and saves, with what it makes of a batch: `python THIS FOLDER`.

A program of its own, because Keras takes its backend from the environment before it is imported.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SIZE_PX = 64


def small(keras: Any) -> Any:
    """Every kind of layer the road knows that keras.applications does not use."""
    layers = keras.layers
    image = layers.Input((17, 21, 3), name="image")
    x = layers.Rescaling([1 / 127.5, 1 / 100, 0.01], offset=[-1.0, 0.5, 0.0])(image)
    x = layers.Conv2D(6, 4, strides=2, padding="same", activation="swish", name="first")(x)
    x = layers.Conv2D(8, (2, 3), padding="same", groups=2, dilation_rate=2, name="grouped")(x)
    x = layers.BatchNormalization(scale=False, name="norm")(x)
    x = layers.PReLU(shared_axes=[1, 2])(x)
    x = layers.LayerNormalization()(x)
    y = layers.SeparableConv2D(8, 3, padding="same", depth_multiplier=2, activation="elu")(x)
    y = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(y)
    x = layers.Add()([x, y])
    y = layers.AveragePooling2D(3, strides=2, padding="same")(x)
    x = layers.MaxPooling2D(2, strides=2, padding="same")(x)
    x = layers.Subtract()([x, layers.Average()([y, x])])
    x = layers.Concatenate()([x, layers.Maximum()([x, y])])
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = layers.Multiply()([x, layers.Dense(16, activation="hard_sigmoid")(gate)])
    x = layers.Conv2DTranspose(5, 4, strides=3, padding="same", activation="leaky_relu")(x)
    x = layers.Cropping2D(((1, 0), (2, 1)))(layers.ZeroPadding2D(((0, 1), (2, 0)))(x))
    x = layers.UpSampling2D(2, interpolation="bilinear")(x)
    x = layers.Permute((2, 1, 3))(x)
    x = layers.MaxPooling2D(3, name="pooled")(x)
    x = layers.Reshape((-1, 10))(x)
    x = layers.Dense(4, activation="tanh", name="rows")(x)
    x = layers.Dropout(0.4)(layers.Flatten(name="flat")(x))
    return keras.Model(image, layers.Dense(3, activation="softmax", name="scores")(x))


def nested(keras: Any) -> Any:
    """Models within a model, and arithmetic on tensors."""
    layers = keras.layers
    base = keras.Sequential(
        [
            layers.Input((16, 16, 3)),
            layers.Conv2D(4, 3, strides=2, padding="same", name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(max_value=6.0),
        ],
        name="base",
    )
    inner = layers.Input((8, 8, 4))
    mixed = layers.Conv2D(5, 1, name="conv")(inner)
    top = keras.Model(inner, layers.Conv2D(5, 1, name="second")(mixed * 0.5 + 1.0), name="top")
    image = layers.Input((16, 16, 3), name="image")
    x = layers.Flatten()(top(base(image)) / 2.0)
    return keras.Model(image, layers.Dense(2, name="scores")(x))


def sequence(keras: Any) -> Any:
    """A Sequential model of grey images."""
    layers = keras.layers
    return keras.Sequential(
        [
            layers.Input((9, 9, 1)),
            layers.Conv2D(3, 3, activation="relu"),
            layers.Conv2D(3, 3),
            layers.GlobalMaxPooling2D(),
            layers.Dense(2, activation="sigmoid"),
        ]
    )


MODELS: dict[str, Callable[[Any], Any]] = {
    "small": small,
    "nested": nested,
    "sequence": sequence,
    "mobilenet_v2": lambda keras: keras.applications.MobileNetV2(
        (SIZE_PX, SIZE_PX, 3), alpha=0.35, weights=None, classes=14, classifier_activation=None
    ),
    "mobilenet_v3": lambda keras: keras.applications.MobileNetV3Small(
        (SIZE_PX, SIZE_PX, 3), weights=None, classes=14, classifier_activation=None
    ),
    "densenet121": lambda keras: keras.applications.DenseNet121(
        input_shape=(SIZE_PX, SIZE_PX, 3), weights=None, classes=14, classifier_activation=None
    ),
    "resnet50": lambda keras: keras.applications.ResNet50(
        input_shape=(SIZE_PX, SIZE_PX, 3), weights=None, classes=14, classifier_activation=None
    ),
    "efficientnet_b0": lambda keras: keras.applications.EfficientNetB0(
        input_shape=(SIZE_PX, SIZE_PX, 3), weights=None, classes=14, classifier_activation=None
    ),
    "inception_v3": lambda keras: keras.applications.InceptionV3(
        input_shape=(96, 96, 3), weights=None, classes=14, classifier_activation=None
    ),
    "xception": lambda keras: keras.applications.Xception(
        input_shape=(96, 96, 3), weights=None, classes=14, classifier_activation=None
    ),
    "convnext_tiny": lambda keras: keras.applications.ConvNeXtTiny(
        input_shape=(SIZE_PX, SIZE_PX, 3), weights=None, classes=14, classifier_activation=None
    ),
}

BYTES = ("mobilenet_v3", "efficientnet_b0", "convnext_tiny")
"""Those that scale pixels of 0 to 255 themselves."""


def weights_of(variable: Any, random: np.random.Generator) -> Any:
    """Numbers under which a deep network neither dies nor explodes, and no two are alike."""
    shape = tuple(variable.shape)
    if variable.path.endswith(("gamma", "variance")):
        return random.uniform(0.6, 1.2, shape)
    if len(shape) == 1:
        return random.standard_normal(shape) * 0.1
    depthwise = len(shape) == 4 and shape[-1] <= 2 < shape[-2]
    fan_in = int(np.prod(shape[:2])) if depthwise else int(np.prod(shape[:-1]))
    return random.standard_normal(shape) * np.sqrt(2 / fan_in)


def main() -> None:
    """Write NAME.keras, NAME.h5, NAME.weights.h5, NAME.json and NAME.npz for each name."""
    os.environ["KERAS_BACKEND"] = "torch"
    import keras
    import torch

    torch.set_num_threads(1)
    folder, names = Path(sys.argv[1]), sys.argv[2:]
    for name in names:
        random = np.random.default_rng(0)
        keras.backend.clear_session()
        model = MODELS[name](keras)
        model.set_weights([weights_of(variable, random) for variable in model.weights])
        images = random.uniform(-1, 1, (2, *model.input_shape[1:])).astype(np.float32)
        images[1] *= 3
        if name in BYTES:
            images = np.abs(images) * 85
        np.savez(folder / f"{name}.npz", images=images, outputs=model.predict(images, verbose=0))
        model.save(folder / f"{name}.keras")
        model.save(folder / f"{name}.h5")
        model.save_weights(folder / f"{name}.weights.h5")
        (folder / f"{name}.json").write_text(model.to_json())


if __name__ == "__main__":
    main()
