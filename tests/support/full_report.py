"""A report in which every part is filled, from made-up scores of made-up patients."""

import numpy as np

from hilum.evaluation import any_finding, evaluate
from hilum.evaluation.bands import curve_bands
from hilum.evaluation.cooccurrence import confusion_by_finding
from hilum.evaluation.figures import ANY_FINDING
from hilum.evaluation.label_noise import label_agreement
from hilum.evaluation.localisation import Localisation
from hilum.evaluation.operating import DEFAULT_RULES, fit_operating_point
from hilum.evaluation.published import PUBLISHED
from hilum.evaluation.report import (
    DataFlow,
    Estimate,
    Example,
    ModelFacts,
    OutOfDistribution,
    ReportInputs,
    SplitCount,
)
from hilum.evaluation.robustness import Robustness, RobustnessCurve, RobustnessPoint
from hilum.evaluation.shortcuts import Probe, within_attribute
from hilum.evaluation.subgroups import subgroups
from hilum.findings import FINDINGS

IMAGES = 300


def full_inputs():
    """Return inputs for every part; Hernia is undefined, so gaps are there too."""
    random = np.random.default_rng(5)
    labels = (random.random((2 * IMAGES, len(FINDINGS))) < 0.1).astype(float)
    labels[:, FINDINGS.index("Hernia")] = 0
    scores = 1 / (1 + np.exp(2 - random.normal(size=labels.shape) - 2 * labels))
    patients = [f"p{number}" for number in random.integers(0, 120, 2 * IMAGES)]
    valid, test = slice(0, IMAGES), slice(IMAGES, None)
    points = [
        fit_operating_point(FINDINGS, labels[valid], scores[valid], rule, patients[valid])
        for rule in DEFAULT_RULES
    ]
    labels, scores, patients = labels[test], scores[test], patients[test]
    views = ["AP" if sick else "PA" for sick in labels.any(axis=1) ^ (random.random(IMAGES) < 0.3)]
    sexes = random.choice(["F", "M"], IMAGES).tolist()
    drawing = {"patient_ids": patients, "num_resamples": 60}
    whole = any_finding(labels, scores)
    columns = np.column_stack([labels, whole[0]]), np.column_stack([scores, whole[1]])
    curves = curve_bands(*columns, patients, num_resamples=60)
    return ReportInputs(
        evaluation=evaluate(
            FINDINGS, labels, scores, views=views, operating_points=points, **drawing
        ),
        title="Everything <at once>",
        subtitle="made up",
        notes=["Synthetic."],
        flow=_flow(),
        label_counts={"Mass": 30},
        label_images=600,
        history=[{"train_loss": 0.5, "valid_loss": 0.4, "valid_mean_auroc": 0.7, "lr": 1e-3}] * 2,
        examples=_examples(scores, labels),
        settings={"seed": 1},
        model=_facts(),
        curves=dict(zip([*FINDINGS, ANY_FINDING], curves, strict=True)),
        published=PUBLISHED,
        rules={point.name: str(point.rule) for point in points},
        fitted_on="fitted on 300 valid images",
        calibrated=["Mass"],
        cooccurrence=confusion_by_finding(FINDINGS, labels, scores, points[0].thresholds),
        subgroups=subgroups(FINDINGS, labels, scores, {"sex": sexes, "view": views}, **drawing),
        probes={"view": [Probe(value="AP", auroc=0.9, auroc_ci95=None, images=90, others=210)]},
        within={"view": within_attribute(FINDINGS, labels, scores, views, **drawing)},
        label_agreement=label_agreement(["Mass"], labels[:, 4], labels[:, 5], num_resamples=20),
        robustness=_robustness(),
        out_of_distribution=[
            OutOfDistribution(kind="inverted", auroc=Estimate(value=0.9), images=300, flagged=0.8)
        ],
        localisation={"Mass": _localisation()},
    )


def _flow():
    return DataFlow(
        files_found=620,
        rejected={"truncated": 20},
        splits=[SplitCount(name="test", images=IMAGES, patients=110)],
        leaking_patients=2,
    )


def _localisation():
    return Localisation(
        maps=10,
        patients=9,
        empty=0,
        threshold=0.5,
        hit_rate=0.5,
        hit_rate_ci95=(0.3, 0.7),
        chance=0.2,
        chance_elsewhere=None,
        excess_ci95=(0.1, 0.5),
        iou=0.2,
        iobb=0.3,
    )


def _robustness():
    as_is, worse = (
        RobustnessPoint(
            level=level,
            aurocs=(value,) * len(FINDINGS),
            mean_auroc=value,
            mean_auroc_ci95=(value - 0.1, value + 0.1),
            any_finding_auroc=value,
            mean_change=0.1,
        )
        for level, value in ((None, 0.8), (9.0, 0.6))
    )
    curve = RobustnessCurve(perturbation="noise", unit="grey levels", points=(worse,))
    return Robustness(findings=FINDINGS, num_images=40, unchanged=as_is, curves=(curve,))


def _facts():
    return ModelFacts(
        architecture="resnet50",
        findings=FINDINGS,
        parameters=23_500_000,
        digest="ab" * 32,
        preprocessing=["Resize 224"],
        provenance={
            "source": {"images": "xrays/", "labels": "labels.csv"},
            "split": {"by": "patient", "seed": 1, "listed_in": None},
            "training": {"max_epochs": 2, "optimizer": {"name": "adamw"}, "loss": {"type": "BCE"}},
            "start_weights": {"kind": "published", "source": "somewhere"},
            "versions": {"torch": "2.15.0"},
        },
    )


def _examples(scores, labels):
    pixels = np.linspace(0, 255, 64 * 64).reshape(64, 64).astype(np.uint8)
    return [
        Example(
            name=f"row {at} of predictions.csv",
            pixels=pixels,
            probabilities=dict(zip(FINDINGS, scores[at].tolist(), strict=True)),
            labels=dict(zip(FINDINGS, labels[at].tolist(), strict=True)),
            finding="Mass",
            kind=kind,
            note=f"Mass, a {kind}.",
            overlay=np.stack([pixels, pixels // 2, pixels // 3], axis=-1) if overlay else None,
        )
        for at, (kind, overlay) in enumerate(
            (("hit", True), ("miss", False), ("false alarm", True))
        )
    ]
