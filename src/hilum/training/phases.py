"""What is frozen in which epoch, and which augmentation an epoch sees while something is."""

from collections import Counter

from hilum.inputs import ImageInput
from hilum.training.config import TrainConfig

__all__ = ["augmentation_epoch", "frozen_layer", "is_frozen", "repeated_variants"]


def frozen_layer(config: TrainConfig, epoch: int) -> str:
    """Up to which layer the network is frozen in an epoch; "" for nothing."""
    begun = [layer for first, layer in config.unfreeze if first <= epoch]
    return begun[-1] if begun else config.freeze


def is_frozen(config: TrainConfig, epoch: int) -> bool:
    """Whether anything is frozen in an epoch."""
    return bool(frozen_layer(config, epoch) or config.frozen)


def augmentation_epoch(config: TrainConfig, epoch: int) -> int:
    """The epoch whose augmentation an epoch sees.

    While something is frozen, only `feature_variants` of them take turns, so that what the frozen
    part makes of an image can be used again. This does not depend on whether it is: a run gives
    the same losses on a machine that has no room for features. Where nothing is random, all epochs
    see the same.
    """
    if not is_frozen(config, epoch):
        return epoch
    return epoch % config.feature_variants if _is_augmented(config) else 0


def _is_augmented(config: TrainConfig) -> bool:
    chains = [config.preprocessing]
    if config.rows is not None:
        chains = [field.chain for field in config.rows.inputs if isinstance(field, ImageInput)]
    return not all(chain.is_deterministic for chain in chains)


def repeated_variants(config: TrainConfig, epoch: int) -> list[int]:
    """The augmentation epochs that come more than once while the same is frozen as in `epoch`.

    The whole time counts, also what lies before `epoch`, so that a resumed run keeps the features
    the unbroken one kept.
    """
    layer = frozen_layer(config, epoch)
    begin = end = epoch
    while begin > 0 and frozen_layer(config, begin - 1) == layer:
        begin -= 1
    while end < config.max_epochs and frozen_layer(config, end) == layer:
        end += 1
    seen = Counter(augmentation_epoch(config, e) for e in range(begin, end))
    return sorted(variant for variant, count in seen.items() if count > 1)
