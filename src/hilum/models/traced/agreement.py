"""What a program does in given modes, in a form in which two programs can be compared."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hilum.models.traced.program import Program, Reference, Step, filled, references

__all__ = ["in_mode"]

# Steps that change nothing, so that none is missed where nobody reads what they find.
_LOOKING = ("getattr", "operator.getitem", "size", "dim", "numel", "choose")


def in_mode(program: Program, modes: Mapping[str, bool]) -> dict[str, Any]:
    """The program as JSON, with every question for the mode of a module answered.

    Steps are called by numbers, for their names depend on what was followed beside them.
    """
    steps, result = _answered(program, modes)
    steps = _read(steps, result)
    names: dict[str, Any] = {name: Reference(name) for name in program.inputs}
    numbered: list[Step] = []
    for step in steps:
        own = f"step {len(numbered)}"
        args, kwargs = filled(step.args, names), filled(dict(step.kwargs), names)
        names[step.name] = Reference(own)
        numbered.append(replace(step, name=own, args=args, kwargs=kwargs, when=None))
    used = {step.target for step in steps}
    return replace(
        program,
        layers={path: one for path, one in program.layers.items() if path in used},
        tensors={path: one for path, one in program.tensors.items() if path in used},
        constants={path: one for path, one in program.constants.items() if path in used},
        steps=tuple(numbered),
        result=filled(result, names),
        modules=(),
    ).to_json()


def _answered(program: Program, modes: Mapping[str, bool]) -> tuple[list[Step], Any]:
    found: dict[str, Any] = {name: Reference(name) for name in program.inputs}
    steps: list[Step] = []
    for step in program.steps:
        args, kwargs = filled(step.args, found), filled(dict(step.kwargs), found)
        if step.when is not None and found[step.when[0]] is not step.when[1]:
            found[step.name] = None
        elif step.kind == "mode":
            found[step.name] = modes[step.target]
        elif step.target == "choose":
            found[step.name] = args[1] if args[0] else args[2]
        else:
            found[step.name] = Reference(step.name)
            steps.append(replace(step, args=args, kwargs=kwargs))
    return steps, filled(program.result, found)


def _read(steps: list[Step], result: Any) -> list[Step]:
    """Without those that only look at a value, where nobody reads it."""
    needed = set(references(result))
    kept = []
    for step in reversed(steps):
        looks = step.kind == "tensor" or step.target in _LOOKING
        if step.name in needed or not looks:
            kept.append(step)
            needed |= {*references(step.args), *references(dict(step.kwargs))}
    return kept[::-1]
