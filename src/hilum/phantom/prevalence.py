"""How often findings occur, and together with what: aggregate counts of NIH ChestX-ray14.

Counted over the 112,120 label rows of Data_Entry_2017_v2020.csv (Wang et al., CVPR 2017; NIH
Clinical Center). A latent normal variable per finding, cut at the quantile of its prevalence,
reproduces prevalences and pairwise co-occurrence at once, stays meaningful when prevalences are
scaled, and carries the tie between the images of one patient (a random-effects probit model).
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from hilum.findings import FINDINGS

__all__ = ["AP_SHARE", "IMAGES_PER_PATIENT", "LatentFindings", "nih_prevalences"]

NUM_IMAGES = 112_120

# Lower triangle: images with both findings; diagonal: with the finding. Order of FINDINGS, then
# the AP view, which goes with some findings (portable images of the very ill).
# fmt: off
PAIR_COUNTS: tuple[tuple[int, ...], ...] = (
    (11559,),
    (370, 2776),
    (3275, 1063, 13317),
    (3264, 587, 4000, 19894),
    (739, 102, 1254, 1159, 5782),
    (590, 108, 912, 1546, 906, 6331),
    (262, 41, 269, 605, 71, 70, 1431),
    (774, 49, 996, 946, 431, 341, 41, 5302),
    (1223, 169, 1287, 1221, 610, 428, 123, 223, 4667),
    (221, 127, 593, 981, 129, 131, 340, 33, 162, 2303),
    (424, 44, 359, 449, 215, 115, 23, 747, 103, 30, 2516),
    (220, 52, 188, 345, 117, 166, 11, 80, 79, 9, 36, 1686),
    (496, 111, 849, 750, 452, 411, 48, 289, 251, 64, 151, 176, 3385),
    (40, 7, 21, 33, 25, 10, 3, 9, 4, 3, 4, 8, 8, 227),
    (5831, 1213, 6728, 10541, 2215, 2154, 801, 1895, 3146, 2027, 1017, 278, 967, 35, 44810),
)
# Over the 81,315 pairs of successive images of one patient: share of images with the finding, and
# share of pairs that both have it. Same order.
SUCCESSIVE_SHARES: tuple[tuple[float, float], ...] = (
    (0.1188, 0.0433), (0.0249, 0.0077), (0.1437, 0.0677), (0.1985, 0.0755), (0.0559, 0.0235),
    (0.0580, 0.0187), (0.0150, 0.0019), (0.0613, 0.0336), (0.0511, 0.0141), (0.0266, 0.0078),
    (0.0275, 0.0119), (0.0140, 0.0028), (0.0322, 0.0075), (0.0019, 0.0009), (0.4958, 0.3732),
)
# Number of patients (of 30,805) by number of images; above 20: mean of the bin.
IMAGES_PER_PATIENT: tuple[tuple[int, int], ...] = (
    (1, 17503), (2, 4113), (3, 2100), (4, 1330), (5, 938), (6, 787), (7, 608), (8, 494), (9, 387),
    (10, 320), (11, 281), (12, 235), (13, 165), (14, 181), (15, 121), (16, 120), (17, 91), (18, 77),
    (19, 77), (20, 74), (23, 253), (28, 153), (35, 164), (49, 141), (71, 74), (128, 18),
)
# fmt: on
AP_SHARE = PAIR_COUNTS[-1][-1] / NUM_IMAGES
_MOST_SCALED = 0.5


def nih_prevalences() -> dict[str, float]:
    """Return the share of NIH ChestX-ray14 images with each finding."""
    return {f: PAIR_COUNTS[i][i] / NUM_IMAGES for i, f in enumerate(FINDINGS)}


@dataclass(frozen=True, slots=True, eq=False)
class LatentFindings:
    """Findings and view as cut normal variables, 14 findings then the AP view.

    Attributes:
        cuts: (15,) a latent above its cut means present.
        factor: (15, 15) matrix that gives independent normals their correlation.
        persistence: (15,) share of the latent's variance that belongs to the patient.
    """

    cuts: npt.NDArray[np.float64]
    factor: npt.NDArray[np.float64]
    persistence: npt.NDArray[np.float64]

    @classmethod
    def of(cls, prevalence_scale: float, prevalence_floor: float) -> "LatentFindings":
        """Return the NIH model with prevalences scaled, then raised to the floor."""
        shares = np.array([row[-1] for row in PAIR_COUNTS]) / NUM_IMAGES
        wanted = shares.copy()
        scaled = np.minimum(shares[:-1] * prevalence_scale, np.maximum(shares[:-1], _MOST_SCALED))
        wanted[:-1] = np.maximum(scaled, prevalence_floor)
        factor, persistence = _nih_correlation()
        return cls(-ndtri(wanted), factor, persistence)

    def draw(self, rng: np.random.Generator, num_images: int) -> npt.NDArray[np.bool_]:
        """Return presence for the images of one patient, shape (num_images, 15).

        Row i does not depend on `num_images`.
        """
        patient = self.factor @ rng.standard_normal(len(self.cuts))
        images = rng.standard_normal((num_images, len(self.cuts))) @ self.factor.T
        latent = np.sqrt(self.persistence) * patient + np.sqrt(1 - self.persistence) * images
        present: npt.NDArray[np.bool_] = latent > self.cuts
        return present


@lru_cache(maxsize=1)
def _nih_correlation() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    size = len(PAIR_COUNTS)
    counts = np.zeros((size, size))
    for i, row in enumerate(PAIR_COUNTS):
        counts[i, : i + 1] = row
    counts = np.maximum(counts, counts.T)
    shares = np.diag(counts) / NUM_IMAGES
    correlation = _tetrachoric(shares[:, None], shares[None, :], counts / NUM_IMAGES)
    successive = np.array(SUCCESSIVE_SHARES)
    persistence = _tetrachoric(successive[:, 0], successive[:, 0], successive[:, 1])
    # Patient and image parts of two findings with unlike persistence correlate less than either.
    kept = np.sqrt(np.outer(persistence, persistence))
    kept += np.sqrt(np.outer(1 - persistence, 1 - persistence))
    correlation = np.clip(correlation / kept, -0.95, 0.95)
    np.fill_diagonal(correlation, 1.0)
    values, vectors = np.linalg.eigh(correlation)
    factor = vectors * np.sqrt(np.maximum(values, 0.0))
    factor /= np.linalg.norm(factor, axis=1, keepdims=True)
    return factor, persistence


def _tetrachoric(
    first: npt.NDArray[np.float64], second: npt.NDArray[np.float64], both: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Correlation of two standard normals whose upper tails meet with probability `both`."""
    first, second = np.broadcast_arrays(first, second)
    low, high = np.full(both.shape, -0.99), np.full(both.shape, 0.99)
    for _ in range(30):
        middle = (low + high) / 2
        too_small = _upper_quadrant(-ndtri(first), -ndtri(second), middle) < both
        low, high = np.where(too_small, middle, low), np.where(too_small, high, middle)
    found: npt.NDArray[np.float64] = (low + high) / 2
    return found


def _upper_quadrant(
    h: npt.NDArray[np.float64], k: npt.NDArray[np.float64], rho: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """P(X > h, Y > k): the bivariate density integrated over the correlation (Plackett 1954)."""
    nodes, weights = np.polynomial.legendre.leggauss(24)
    angle = np.arcsin(rho)[..., None] * (nodes + 1) / 2
    h, k = h[..., None], k[..., None]
    exponent = -(h * h + k * k - 2 * h * k * np.sin(angle)) / (2 * np.cos(angle) ** 2)
    integral = (np.exp(exponent) @ weights) * np.arcsin(rho) / 2
    quadrant: npt.NDArray[np.float64] = integral / (2 * np.pi) + ndtr(-h[..., 0]) * ndtr(-k[..., 0])
    return quadrant
