"""What the numbers say, in sentences: results first, then the reasons to be careful.

Every sentence is made from the evaluation and the data flow alone, so it is never more hopeful
than they are, and a finding that could not be scored is named.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hilum.evaluation.figures import spoken, with_interval
from hilum.evaluation.result import Evaluation

__all__ = ["DataFlow", "SplitCount", "at_thresholds", "cautions", "headlines"]

FEW_POSITIVES = 10  # below it an interval rests on a handful of images
VIEW_GAP = 0.10  # share of positives differs by more between views: a shortcut worth a warning


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitCount:
    """Images and patients in one split; patients None if not known."""

    name: str
    images: int
    patients: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFlow:
    """What became of the files.

    Attributes:
        files_found: files that were read; None if this was not counted.
        rejected: reason code (`hilum.radiograph.REASONS`) to number of files.
        splits: in the order to show them.
        leaking_patients: patients in the tested split who also are in a training split; None if
            not checked.
    """

    files_found: int | None = None
    rejected: Mapping[str, int] = field(default_factory=dict)
    splits: Sequence[SplitCount] = ()
    leaking_patients: int | None = None

    @property
    def num_rejected(self) -> int:
        """Files that could not be used."""
        return sum(self.rejected.values())


def headlines(evaluation: Evaluation) -> list[str]:
    """Return the result in sentences that need no statistics to read."""
    if evaluation.mean_auroc is None:
        return [_tested(evaluation), "No finding could be scored, so there is no AUC to report."]
    sentences = [_tested(evaluation), _mean(evaluation), _any(evaluation), _extremes(evaluation)]
    return [sentence for sentence in sentences if sentence]


def at_thresholds(evaluation: Evaluation, rules: Mapping[str, str]) -> list[str]:
    """Return what acting on the default threshold does, for the most frequent finding that has one.

    Args:
        rules: what a threshold is for, by the name of its rule.
    """
    with_points = [name for name in evaluation.scored if evaluation.findings[name].operating_points]
    if not with_points:
        return []
    name = max(with_points, key=lambda finding: evaluation.findings[finding].positives)
    rule, point = next(iter(evaluation.findings[name].operating_points.items()))
    found, precision = point.rates["sensitivity"], point.rates["ppv"]
    if found is None or precision is None:
        return []
    return [
        f"At the frozen threshold ({rules.get(rule, rule)}) the model finds {100 * found:.0f} of "
        f"100 radiographs with {spoken(name)}, and {100 * precision:.0f} of 100 calls are right."
    ]


def cautions(evaluation: Evaluation, flow: DataFlow) -> list[str]:
    """Return what a reader must know before trusting the numbers; empty if nothing stands out."""
    found = [
        _leak(flow),
        _undefined(evaluation),
        _like_guessing(evaluation),
        _few(evaluation),
        _view_shortcut(evaluation),
        _no_patients(evaluation),
    ]
    return [sentence for sentence in found if sentence]


def _tested(evaluation: Evaluation) -> str:
    radiographs = _counted(evaluation.num_images, "radiograph")
    if evaluation.num_patients is None:
        return f"The model was tested on {radiographs}."
    return (
        f"The model was tested on {radiographs} of {_counted(evaluation.num_patients, 'patient')}."
    )


def _mean(evaluation: Evaluation) -> str:
    scored = evaluation.scored
    several = len(scored) > 1
    what = f"mean AUC of {len(scored)} findings" if several else f"AUC for {spoken(scored[0])}"
    told = with_interval(evaluation.mean_auroc, evaluation.mean_auroc_ci95)
    told = told.replace("(", "(95 % interval ")
    return f"The {what} is {told}; 0.5 is guessing and 1.0 is perfect."


def _any(evaluation: Evaluation) -> str:
    whole = evaluation.any_finding
    if whole.auroc is None or len(evaluation.findings) == 1:
        return ""
    return (
        "For the question whether there is any finding at all, the AUC is "
        f"{with_interval(whole.auroc, whole.auroc_ci95)}: shown one radiograph with a finding and "
        "one without, the model gives the right one the higher score "
        f"{100 * whole.auroc:.0f} times out of 100."
    )


def _extremes(evaluation: Evaluation) -> str:
    enough = [n for n in evaluation.scored if evaluation.findings[n].positives >= FEW_POSITIVES]
    if len(enough) < 2:
        return ""
    ranked = sorted(enough, key=lambda name: evaluation.findings[name].auroc or 0.0)
    results = ((name, evaluation.findings[name]) for name in (ranked[-1], ranked[0]))
    best, worst = (f"{spoken(n)}, {with_interval(r.auroc, r.auroc_ci95)}" for n, r in results)
    return f"Best recognised: {best}. Least: {worst}."


def _leak(flow: DataFlow) -> str:
    if not flow.leaking_patients:
        return ""
    return (
        f"Also in the training images: {_counted(flow.leaking_patients, 'tested patient')}. "
        "The AUCs are too high by an unknown amount; split by patient to avoid this."
    )


def _undefined(evaluation: Evaluation) -> str:
    if not evaluation.undefined:
        return ""
    return (
        f"Not scored: {_listed(evaluation.undefined)}. All test images with a known label have "
        "the same one, so there is nothing to tell apart and the AUC is undefined."
    )


def _like_guessing(evaluation: Evaluation) -> str:
    names = [
        name
        for name, result in evaluation.findings.items()
        if result.auroc_ci95 is not None and result.auroc_ci95[0] <= 0.5
    ]
    if not names:
        return ""
    return f"These test data do not show that the model beats guessing for {_listed(names)}."


def _few(evaluation: Evaluation) -> str:
    names = [
        name for name in evaluation.scored if evaluation.findings[name].positives < FEW_POSITIVES
    ]
    if not names:
        return ""
    return (
        f"Fewer than {FEW_POSITIVES} test images have {_listed(names, 'or')}; "
        "an AUC from so few says little, whatever its interval."
    )


def _view_shortcut(evaluation: Evaluation) -> str:
    shares = {
        view: result.any_finding.prevalence
        for view, result in evaluation.by_view.items()
        if result.any_finding.prevalence is not None
    }
    if len(shares) < 2:
        return ""
    high = max(shares, key=lambda view: shares[view])
    low = min(shares, key=lambda view: shares[view])
    if shares[high] - shares[low] <= VIEW_GAP:
        return ""
    return (
        f"{100 * shares[high]:.0f} % of the {high} radiographs have a finding, but "
        f"{100 * shares[low]:.0f} % of the {low} ones. A model can gain AUC by recognising the "
        "view alone; the results within one view are the fairer ones."
    )


def _no_patients(evaluation: Evaluation) -> str:
    if evaluation.num_patients is not None:
        return ""
    return (
        "Patients are not known, so every image was treated as its own patient: the intervals are "
        "too narrow if some patients have several images."
    )


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _listed(names: Sequence[str], last: str = "and") -> str:
    said = [spoken(name) for name in names]
    return said[0] if len(said) == 1 else f"{', '.join(said[:-1])} {last} {said[-1]}"
