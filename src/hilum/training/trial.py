"""A network tried on one row before anything is launched: what it gives, or why it cannot be.

Sizes that do not fit are the commonest mistake with any data. Found here, they cost a second and
are said with both shapes; found by a rank, they would cost a cache and a stack trace.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from hilum.errors import InvalidValueError, require
from hilum.inputs import Output, RowSpec, Target
from hilum.optim import Loss, Objective, losses_of
from hilum.training.objective import shaped_like

__all__ = ["try_network"]

_ROWS = 2  # so that a network that mixes up rows and numbers is noticed


def try_network(
    model: nn.Module, spec: RowSpec, loss: Objective, record: Tensor, labels: Tensor
) -> RowSpec:
    """Run a network and its loss on one row and return the contract with its outputs.

    Args:
        model: left as it was, in the mode it was.
        record: uint8 (1, record_bytes). labels: float32 (1, label_size).

    Raises:
        InvalidValueError: the network does not take what the row gives, or gives what the loss
            cannot compare with the row's labels; with both shapes and the columns.
    """
    inputs = spec.tensors(record.expand(_ROWS, -1).contiguous())
    outputs = _run(model, spec, inputs)
    named = _named(outputs, spec)
    spec = replace(spec, outputs=named, keyed=isinstance(outputs, Mapping))
    found = spec.output_tuple(outputs)
    expected = spec.labels(labels.expand(_ROWS, -1).contiguous(), inputs)
    losses = losses_of(loss, len(found)).losses
    for output, target, label, own in zip(found, spec.targets, expected, losses, strict=True):
        _check_classes(output, target)
        what = "input" if target.input is not None else "label column"
        _compare(own, output, label, f"{what} {target.column!r}")
    return spec


def _run(model: nn.Module, spec: RowSpec, inputs: Sequence[Tensor]) -> Any:
    was_training = model.training
    entered: list[tuple[str, nn.Module]] = []
    hooks = [_watched(name, module, entered) for name, module in model.named_modules()]
    model.eval()
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            return model(*inputs)
    except Exception as error:  # whatever a user's network raises
        where = f" in {entered[-1][0] or type(model).__name__}" if entered else ""
        wanted = _wanted(entered[-1][1]) if entered else ""
        raise InvalidValueError(
            f"the network must take what a row gives: {_shapes(spec, inputs)}. "
            f"Got {type(error).__name__}{where}{wanted}: {_first_line(error)} "
            f"Hint: {_hint(spec, error)}"
        ) from error
    finally:
        for before, after in hooks:
            before.remove()
            after.remove()
        model.train(was_training)


def _watched(name: str, module: nn.Module, entered: list[tuple[str, nn.Module]]) -> tuple[Any, Any]:
    """Keep the modules that were begun and not ended."""

    def begin(*_: object) -> None:
        entered.append((name, module))

    def end(*_: object) -> None:
        entered.pop()

    return module.register_forward_pre_hook(begin), module.register_forward_hook(end)


def _wanted(module: nn.Module) -> str:
    """What a layer expects, where its kind says so."""
    sizes = {
        nn.Linear: ("in_features", "(N, ..., {})"),
        nn.Conv1d: ("in_channels", "(N, {}, L)"),
        nn.Conv2d: ("in_channels", "(N, {}, H, W)"),
        nn.Conv3d: ("in_channels", "(N, {}, D, H, W)"),
        nn.RNNBase: ("input_size", "(N, L, {})"),
        nn.Embedding: ("num_embeddings", "whole numbers below {}"),
    }
    for kind, (attribute, text) in sizes.items():
        if isinstance(module, kind):
            return f" ({type(module).__name__} expects {text.format(getattr(module, attribute))})"
    return ""


def _shapes(spec: RowSpec, inputs: Sequence[Tensor]) -> str:
    return ", ".join(
        f"{field.column!r} {_dtype(tensor)} {_batch(tensor)}"
        for field, tensor in zip(spec.inputs, inputs, strict=True)
    )


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _batch(tensor: Tensor) -> str:
    return f"({', '.join(map(str, ('N', *tensor.shape[1:])))}{',' if tensor.ndim == 1 else ''})"


def _first_line(error: Exception) -> str:
    text = (str(error).strip().splitlines() or [repr(error)])[0]
    return text if text.endswith(".") else f"{text}."


def _hint(spec: RowSpec, error: Exception) -> str:
    text = str(error)
    if isinstance(error, TypeError) and "positional argument" in text:
        return f"featuresCols names one column per argument of forward; here {len(spec.inputs)}."
    if "dtype" in text or "scalar type" in text or "Long" in text:
        return (
            "columns of whole numbers arrive as int64, all others as float32; cast the column, "
            "as in data.withColumn('x', F.col('x').cast('float'))."
        )
    return "change the network's first layer, or give the column's shape with inputShapes."


def _named(outputs: Any, spec: RowSpec) -> tuple[Output, ...]:
    """The outputs' names and shapes, in the order of the targets."""
    columns = [target.column for target in spec.targets]
    if isinstance(outputs, Mapping):
        require(
            set(outputs) == set(columns),
            "outputs of the network",
            f"a dict with the label columns as keys ({', '.join(columns)})",
            list(outputs),
        )
        tensors = [outputs[column] for column in columns]
    else:
        tensors = list(outputs) if isinstance(outputs, tuple | list) else [outputs]
    require(
        len(tensors) == len(columns),
        "outputs of the network",
        f"as many as there are columns to learn ({', '.join(columns)})",
        len(tensors),
        hint="labelCols names one label column per output",
    )
    for tensor in tensors:
        fits = isinstance(tensor, Tensor) and tensor.ndim > 0 and len(tensor) == _ROWS
        given = tuple(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
        require(fits, "outputs of the network", f"tensors ({_ROWS}, ...) for {_ROWS} rows", given)
    return tuple(
        Output(name=column, shape=tuple(tensor.shape[1:]))
        for column, tensor in zip(columns, tensors, strict=True)
    )


def _check_classes(output: Tensor, target: Target) -> None:
    """A logit per class, or one alone for two classes."""
    count = len(target.classes)
    numbers = output[0].numel()
    if count == 0 or (output.ndim <= 2 and (numbers == count or (numbers, count) == (1, 2))):
        return
    shown = ", ".join(target.classes[:5]) + (", ..." if count > 5 else "")
    alone = ", or (N, 1) for two" if count == 2 else ""
    raise InvalidValueError(
        f"the network's output must be (N, {count}), a logit per class of label column "
        f"{target.column!r} ({shown}){alone}. Got {_batch(output)} from the network. "
        "Hint: change the network's last layer; for one image column head='new' puts a layer of "
        "the right size there."
    )


def _compare(loss: Loss, output: Tensor, labels: Tensor, target: str) -> None:
    labels = shaped_like(output, labels)
    kind = type(loss).__name__
    problem = ""
    if labels.shape != output.shape and labels.ndim != output.ndim - 1:
        problem = "they differ."
    else:
        try:
            terms, weights = loss.elementwise(output.float(), labels), loss.weights(labels)
            if len(terms) != _ROWS or terms.shape != weights.shape:
                problem = f"the loss gives {_batch(terms)} terms for {_batch(weights)} weights."
        except Exception as error:  # whatever a loss raises
            problem = _first_line(error)
    if problem:
        raise InvalidValueError(
            f"the network's output must be what {kind} can compare with {target}. "
            f"Got {_batch(output)} from the network and {_batch(labels)} from {target}: {problem} "
            "Hint: change the network's last layer, or the loss; for one image column head='new' "
            "puts a layer of the right size there."
        )
