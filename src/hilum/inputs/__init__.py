"""What a network reads of a row: columns as tensors of fixed shape, packed into fixed records."""

from hilum.inputs.fields import ImageInput, Input, Moment, TensorInput, TextInput
from hilum.inputs.image_struct import grey_pixels
from hilum.inputs.numbers import ROW_REASONS
from hilum.inputs.rows import Output, RowSpec, Target
from hilum.inputs.text import TextEncoder, WordEncoder, encoder_from_json, encoder_to_json

__all__ = [
    "ROW_REASONS",
    "ImageInput",
    "Input",
    "Moment",
    "Output",
    "RowSpec",
    "Target",
    "TensorInput",
    "TextEncoder",
    "TextInput",
    "WordEncoder",
    "encoder_from_json",
    "encoder_to_json",
    "grey_pixels",
]
