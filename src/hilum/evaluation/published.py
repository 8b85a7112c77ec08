"""Published AUCs on NIH ChestX-ray14, frozen, each with its split and where it was read.

Two scales exist. The official test split (25,596 radiographs of 2,797 patients) is sicker than the
rest; the same network scores three to four points lower on it than on a random split. A number is
only comparable with one on the same split, and every result here says which it used. Nothing is in
this table that could not be traced; findings that a paper gives only as a mean are left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from hilum.evaluation.result import Evaluation
from hilum.findings import FINDINGS

__all__ = [
    "PUBLISHED",
    "SHORT_SPLITS",
    "PublishedResult",
    "Split",
    "comparison_warnings",
    "is_official_split",
    "published_for",
]

Split = Literal["official", "patient", "image"]

OFFICIAL_TEST_IMAGES = 25_596  # test_list.txt of the NIH release
OFFICIAL_TEST_PATIENTS = 2_797
SHORT_SPLITS: Mapping[Split, str] = {
    "official": "official split",
    "patient": "own split by patient",
    "image": "own split by image",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedResult:
    """AUCs that a paper reports.

    Attributes:
        key: short name for legends and columns.
        citation: authors, title, place, identifier.
        model: network and input.
        split: what the model was tested on.
        mean_auroc: mean over the 14 findings.
        aurocs: per finding; empty where only the mean could be traced.
        source: where these figures were read.
        note: what a reader must know.
    """

    key: str
    citation: str
    model: str
    split: Split
    mean_auroc: float
    source: str
    aurocs: Mapping[str, float] = field(default_factory=dict)
    note: str = ""


def _in_nih_order(*values: float) -> Mapping[str, float]:
    return dict(zip(FINDINGS, values, strict=True))


_CHEXNET_TABLE = (
    "Table 2 of arXiv:1711.05225v3, also in the README of github.com/arnoweng/CheXNet (3d45ee7)"
)
# Read through transcriptions in public repositories, two or more that agree for every figure.
_XIAO_TABLE = "Table 6 of arXiv:2210.12843, which lists results on the official split"

PUBLISHED: tuple[PublishedResult, ...] = (
    PublishedResult(
        key="Wang 2017",
        citation=(
            "Wang X, Peng Y, Lu L, Lu Z, Bagheri M, Summers RM. ChestX-ray8: hospital-scale chest "
            "X-ray database and benchmarks. CVPR 2017; arXiv:1705.02315v5"
        ),
        model="ResNet-50, ImageNet weights, 1024 px",
        split="official",
        mean_auroc=0.7451,
        aurocs=_in_nih_order(
            # NIH order: Atelectasis .. Hernia
            *(0.7003, 0.8100, 0.7585, 0.6614, 0.6933, 0.6687, 0.6580),
            *(0.7993, 0.7032, 0.8052, 0.8330, 0.7859, 0.6835, 0.8717),
        ),
        # Transcribed alike in two public repositories; the 14 values average to the printed mean.
        source="Table 17, column ChestX-ray14, of arXiv:1705.02315v5",
        note="The data set's own base line; 0.738 on the authors' earlier random split.",
    ),
    PublishedResult(
        key="Yao 2017",
        citation=(
            "Yao L, Poblenz E, Dagunts D, Covington B, Bernard D, Lyman K. Learning to diagnose "
            "from scratch by exploiting dependencies among labels. arXiv:1710.10501"
        ),
        model="DenseNet with LSTM, no ImageNet weights, 512 px",
        split="patient",
        mean_auroc=0.803,
        aurocs=_in_nih_order(
            *(0.772, 0.904, 0.859, 0.695, 0.792, 0.717, 0.713),
            *(0.841, 0.788, 0.882, 0.829, 0.767, 0.765, 0.914),
        ),
        source=_CHEXNET_TABLE,
        note="Own random split. On the official one the group reported 0.761 in 2018.",
    ),
    PublishedResult(
        key="CheXNet 2017",
        citation=(
            "Rajpurkar P, Irvin J, Zhu K, et al. CheXNet: radiologist-level pneumonia detection on "
            "chest X-rays with deep learning. arXiv:1711.05225v3"
        ),
        model="DenseNet-121, ImageNet weights, 224 px",
        split="patient",
        mean_auroc=0.8414,
        aurocs=_in_nih_order(
            *(0.8094, 0.9248, 0.8638, 0.7345, 0.8676, 0.7802, 0.7680),
            *(0.8887, 0.7901, 0.8878, 0.9371, 0.8047, 0.8062, 0.9164),
        ),
        source=_CHEXNET_TABLE,
        note="Own random 70/10/20 split; its test list was never published.",
    ),
    PublishedResult(
        key="Yao 2018",
        citation=(
            "Yao L, Prosky J, Poblenz E, Covington B, Lyman K. Weakly supervised medical diagnosis "
            "and localization from multiple resolutions. arXiv:1803.07703"
        ),
        model="ResNet and DenseNet, 512 px",
        split="official",
        mean_auroc=0.761,
        source=_XIAO_TABLE,
    ),
    PublishedResult(
        key="Guendel 2018",
        citation=(
            "Guendel S, Grbic S, Georgescu B, et al. Learning to recognize abnormalities in chest "
            "X-rays with location-aware dense networks. CIARP 2018; arXiv:1803.04565"
        ),
        model="DenseNet-121, location aware, 1024 px",
        split="official",
        mean_auroc=0.807,
        source=_XIAO_TABLE,
        note="The same model scored 0.841 on a random split by patient.",
    ),
    PublishedResult(
        key="Baltruschat 2019",
        citation=(
            "Baltruschat IM, Nickisch H, Grass M, Knopp T, Saalbach A. Comparison of deep learning "
            "approaches for multi-label chest X-ray classification. Sci Rep 2019; arXiv:1803.02315"
        ),
        model="ResNet-38, 448 px, with age, sex and view",
        split="official",
        mean_auroc=0.806,
        source=_XIAO_TABLE,
        note="The same model scored 0.822 on random splits.",
    ),
    PublishedResult(
        key="White paper 2019",
        citation=(
            "Dell EMC. AI-assisted radiology using distributed deep learning on Apache Spark and "
            "Analytics Zoo. White paper H17686, 2019"
        ),
        model="ResNet-50, ImageNet weights, 224 px",
        split="image",
        mean_auroc=0.801,
        aurocs=_in_nih_order(
            *(0.789, 0.873, 0.865, 0.689, 0.807, 0.729, 0.731),
            *(0.870, 0.794, 0.886, 0.887, 0.762, 0.768, 0.759),
        ),
        source="Table 2 of the white paper, put back in NIH order",
        note=(
            "Printed beside names in another order; re-aligned by the authors' own notebook, which "
            "splits by image, so that most tested patients were also trained on."
        ),
    ),
    PublishedResult(
        key="Xiao 2023",
        citation=(
            "Xiao J, Bai Y, Yuille A, Zhou Z. Delving into masked autoencoders for multi-label "
            "thorax disease classification. WACV 2023; arXiv:2210.12843"
        ),
        model="ViT-B/16 pretrained on 0.5 M radiographs, 224 px",
        split="official",
        mean_auroc=0.830,
        source=_XIAO_TABLE,
        note="Best mean on the official split that we could trace; DenseNet-121: 0.822.",
    ),
)


def is_official_split(evaluation: Evaluation) -> bool:
    """Whether the tested images are, by their number and their patients', NIH's official test."""
    counts = (evaluation.num_images, evaluation.num_patients)
    return counts == (OFFICIAL_TEST_IMAGES, OFFICIAL_TEST_PATIENTS)


def published_for(evaluation: Evaluation) -> tuple[PublishedResult, ...]:
    """Return the published results that share a finding with the evaluation."""
    return PUBLISHED if set(FINDINGS) & set(evaluation.findings) else ()


def comparison_warnings(
    evaluation: Evaluation, results: Sequence[PublishedResult] = PUBLISHED
) -> list[str]:
    """Return why these results and the evaluation do not simply rank; never empty."""
    official = [result.key for result in results if result.split == "official"]
    other = [result.key for result in results if result.split != "official"]
    if is_official_split(evaluation):
        found = [
            "The tested images are, by their number, the official NIH test split; results on that "
            f"split are comparable: {', '.join(official)}.",
            f"Not comparable, tested on other splits: {', '.join(other)}.",
        ]
    else:
        patients = evaluation.num_patients
        whom = "" if patients is None else f" of {patients:,} patients"
        found = [
            f"This model was tested on {evaluation.num_images:,} radiographs{whom}; the official "
            f"NIH test split has {OFFICIAL_TEST_IMAGES:,} of {OFFICIAL_TEST_PATIENTS:,}. The "
            "splits differ, so no value here ranks this model against a published one.",
            "How much a split alone can do: one model scored 0.807 on the official split and 0.841 "
            "on a random split by patient (Guendel 2018).",
        ]
    missing = [name for name in FINDINGS if name not in evaluation.scored]
    if missing:
        found.append(
            f"The mean of this model is over {len(evaluation.scored)} scored findings, the "
            "published means over all 14."
        )
    return found
