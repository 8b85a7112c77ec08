"""Features of the frozen part of a network, computed once and trained on many times.

While a prefix of the network is frozen, what it makes of an image changes with the augmentation
only. So `feature_variants` augmentations take turns; the features of each are computed when its
first epoch begins, kept on every host's disk, and later epochs read them and run the rest of the
network alone. Validation features are kept when they are first computed.

Features are computed in batches of their own, by position in the cache: they are the same numbers
whatever the order of the epoch, and when a run is resumed.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from hilum.errors import InvalidValueError, require
from hilum.inputs import RowSpec
from hilum.models import Split, set_train_mode, split_at, split_frozen
from hilum.training.batches import Batch, prefetch, rank_batches
from hilum.training.dropout import seed_dropout
from hilum.training.feature_store import FeatureStore, NoRoomError, open_feature_store
from hilum.training.phases import augmentation_epoch, repeated_variants
from hilum.training.record_source import RecordSource
from hilum.training.sampler import rank_share
from hilum.training.source import ImageSource, Inputs, Source, arguments
from hilum.training.world import all_reduce_sum, gather_rows

__all__ = ["FeatureSource", "open_source"]

logger = logging.getLogger(__name__)

Samples = npt.NDArray[np.int64]

FILL_IMAGES = 32  # per rank at a time
_PROBES = 3  # not 1, and not 2: two directions or two steps would pass for two rows
_NOT_KEPT = (
    "the frozen part of the network is computed in every step, as its features cannot be kept: %s"
)


def open_source(
    images: ImageSource | RecordSource, model: nn.Module, dtype: torch.dtype, epoch: int
) -> tuple[Source, str]:
    """Choose what feeds the network from an epoch on: features where they can be kept.

    All ranks call it together, the model frozen and in training mode. Where features cannot be
    kept, rank 0 warns, and every step runs the frozen part.

    Args:
        images: feeds the whole network; of rows, one argument's features are kept.
        dtype: what the forward pass computes in.
        epoch: the first epoch this source is for.

    Returns:
        The source, and why features cannot be kept; "" if they are.
    """
    problem, split, probe = "", None, torch.empty(0)
    try:
        require(
            images.placement.holds_all,
            "placement",
            '"whole", for features to be kept',
            images.config.placement,
        )
        _check_arguments(images.config.rows)
        split = split_frozen(model, images.config.blueprint)
        probe = _probe(images, model, split, dtype)
    except InvalidValueError as error:
        problem = str(error)
    except Exception as error:  # a network's own code, run in parts; whole it may still train
        problem = f"{type(error).__name__}: {error}"
    failed = all_reduce_sum(torch.tensor(float(split is None or bool(problem))), images.world)
    variants = repeated_variants(images.config, epoch)
    if split is not None and not int(failed):
        num_rows = _num_rows(images, variants)
        try:
            store = open_feature_store(images.world, num_rows, probe[0])
            return FeatureSource(images, model, split, store, variants, dtype), ""
        except NoRoomError as error:
            problem = str(error)
    problem = _NOT_KEPT % (problem or "another rank could not")
    if images.world.is_leader:
        logger.warning(problem)
    return images, problem


def _check_arguments(rows: RowSpec | None) -> None:
    """Raise InvalidValueError where rows have to be unpacked in every step anyhow."""
    if rows is not None:
        learnt = [target.column for target in rows.targets if target.input is not None]
        require(not learnt, "the labels", "other columns than the input", ", ".join(learnt))
        columns = ", ".join(field.column for field in rows.inputs)
        require(len(rows.inputs) == 1, "the network", "of one argument", columns)


def _num_rows(images: ImageSource | RecordSource, variants: list[int]) -> int:
    num_train, num_valid = (len(images.cache.positions(split)) for split in ("train", "valid"))
    return len(variants) * num_train + num_valid


class FeatureSource:
    """Features (N, ...) in place of images, for the part of the network behind the cut.

    Args:
        images: feeds the whole network.
        network: the network that is trained, and `split`, its two parts.
        store: a row for each training image and variant, then one for each validation image.
        variants: the augmentation epochs whose features are kept.
        dtype: what the forward pass computes in.
    """

    def __init__(
        self,
        images: ImageSource | RecordSource,
        network: nn.Module,
        split: Split,
        store: FeatureStore,
        variants: list[int],
        dtype: torch.dtype,
    ) -> None:
        self._images, self._split, self._store, self._dtype = images, split, store, dtype
        self._parts: WeakKeyDictionary[nn.Module, nn.Module] = WeakKeyDictionary()
        self._parts[network] = split.rest
        train, valid = (images.cache.positions(name) for name in ("train", "valid"))
        self._train = train
        self._slots = {variant: number for number, variant in enumerate(variants)}
        self._row_in_slot = _rows_of(train, len(images.cache), first=0)
        self._valid_row = _rows_of(valid, len(images.cache), first=len(variants) * len(train))
        self._valid_known = np.zeros(len(images.cache), dtype=bool)
        self._filled: set[int] = set()
        self._read_variant: int | None = None  # what the epoch prepared last reads
        leaders = torch.tensor(float(images.world.local_rank == 0))
        self._one_host = int(all_reduce_sum(leaders, images.world)) == 1

    @property
    def num_bytes(self) -> int:
        """Size of the features on every host's disk."""
        return self._store.num_bytes

    def trained_part(self, network: nn.Module) -> nn.Module:
        """What lies behind the cut of a network of the same architecture."""
        if network not in self._parts:
            self._parts[network] = split_at(network, self._split.layer).rest
        return self._parts[network]

    def prepare(self, epoch: int, report: Callable[[int, int], None]) -> None:
        """Compute the features of the epoch's variant, if they are to be kept and are not yet."""
        variant = augmentation_epoch(self._images.config, epoch)
        keeps = variant in self._slots
        if keeps and variant not in self._filled:
            keeps = self._fill(variant, epoch, report)
        self._read_variant = variant if keeps else None

    def batches(self, global_batches: Iterable[Samples]) -> Iterator[Batch]:
        """This rank's shares; features where the variant is kept, else images."""
        if self._read_variant is None:
            return self._images.batches(global_batches)
        slot = self._slots[self._read_variant]

        def gather(samples: Samples) -> Tensor:
            return self._kept(self._train_rows(slot, samples))

        images = self._images
        return rank_batches(images.placement, images.world.rank, global_batches, gather)

    def inputs(self, batch: Batch, epoch: int) -> Tensor:
        """Features of a batch, on the device."""
        if self._read_variant is None:
            return self._features(self._images.inputs(batch, epoch))
        return batch.images.to(self._images.device, non_blocking=True)

    def evaluation(self, pieces: Iterable[Samples]) -> Iterator[Tensor]:
        """Features of un-augmented images; those of the validation split are kept."""
        todo = list(pieces)
        if all(self._valid_known[piece].all() for piece in todo):
            for features in prefetch(self._kept(self._valid_row[piece]) for piece in todo):
                yield features.to(self._images.device, non_blocking=True)
            return
        whole: Iterator[Inputs] = self._images.evaluation(todo)
        for piece, inputs in zip(todo, whole, strict=True):
            features = self._features(inputs)
            known = (self._valid_row[piece] >= 0).all()
            if known and self._store.takes(features, len(piece)):
                self._store.write(self._valid_row[piece], features)
                self._valid_known[piece] = True
            yield features

    def _features(self, inputs: Inputs) -> Tensor:
        with torch.no_grad(), _computing_in(self._images.device, self._dtype):
            features: Tensor = self._split.prefix(*arguments(inputs))
        return features

    def _kept(self, rows: Samples) -> Tensor:
        features = self._store.read(rows)
        # Networks on rows may view tensors in ways that channels last forbids.
        return features if self._images.config.rows is None else features.contiguous()

    def _fill(self, variant: int, epoch: int, report: Callable[[int, int], None]) -> bool:
        """Keep a variant; returns False, on all ranks, where that cannot be after all."""
        started, unlike = time.perf_counter(), ""
        world, slot = self._images.world, self._slots[variant]
        size = FILL_IMAGES * world.num_ranks
        pieces = [self._train[at : at + size] for at in range(0, len(self._train), size)]
        with closing(prefetch(self._images.batches(pieces))) as batches:
            for number, (piece, batch) in enumerate(zip(pieces, batches, strict=True)):
                features = self._features(self._images.inputs(batch, epoch))[: batch.num_real]
                if not self._store.takes(features, batch.num_real):
                    unlike = f"{features.dtype} {tuple(features.shape)} for {batch.num_real} rows"
                    features = self._store.blank(batch.num_real)  # the other ranks wait for some
                self._keep(slot, piece, features)
                report(number + 1, len(pieces))
        # Nobody reads before all have written.
        if int(all_reduce_sum(torch.tensor(float(bool(unlike))), world)):
            self._slots.clear()
            if world.is_leader:
                whose = unlike or "those of another rank"
                logger.warning(_NOT_KEPT, f"they are not always of the same size ({whose})")
            return False
        self._filled.add(variant)
        logger.info(
            "rank=%d variant=%d images=%d seconds=%.1f features kept",
            world.rank,
            variant,
            len(self._train),
            time.perf_counter() - started,
        )
        return True

    def _keep(self, slot: int, piece: Samples, features: Tensor) -> None:
        """Write features on every host: ranks of one host share the file, hosts exchange them."""
        world = self._images.world
        if self._one_host:
            own = rank_share(piece, world.rank, world.num_ranks)
            self._store.write(self._train_rows(slot, own), features)
            return
        shares = [rank_share(piece, rank, world.num_ranks) for rank in range(world.num_ranks)]
        gathered = gather_rows(self._store.pack(features), [len(s) for s in shares], world)
        if world.local_rank == 0:
            self._store.write_packed(self._train_rows(slot, piece), gathered)

    def _train_rows(self, slot: int, samples: Samples) -> Samples:
        return self._row_in_slot[samples] + slot * len(self._train)


def _probe(
    images: ImageSource | RecordSource, model: nn.Module, split: Split, dtype: torch.dtype
) -> Tensor:
    """Features of some images, once it is sure that the two parts are the network.

    Raises:
        InvalidValueError: they are not, or the features are not the same each time, or not a row
            for each image.
    """
    positions = images.cache.positions("train")[:_PROBES]
    whole: Iterator[Inputs] = images.evaluation([positions])
    inputs = arguments(next(whole))
    found: list[Tensor] = []
    with torch.no_grad(), _computing_in(images.device, dtype):
        for epoch in range(2):
            seed_dropout(model, images.config.seed, epoch, torch.from_numpy(positions))
            found.append(split.prefix(*inputs))
        alone = split.prefix(*(tensor[:1] for tensor in inputs))
        model.eval()
        try:
            outputs, expected = split.rest(found[0].clone()), model(*inputs)
        finally:
            set_train_mode(model)
    same = torch.equal(*found)
    if not same or not _are_close(images.config.rows, outputs, expected):
        raise InvalidValueError(
            "the frozen part of the network must give the same features each time. "
            f"Got others behind {split.layer}. Hint: it draws random numbers, or its code does "
            "not do the same in training and evaluation."
        )
    _require_rows(split.layer, found[0], len(positions), alone)
    return found[0]


def _require_rows(layer: str, features: Tensor, num_rows: int, alone: Tensor) -> None:
    """Refuse features whose first dimension is not the rows, or whose rows know of each other."""
    rounding = 0.05 if features.dtype == torch.bfloat16 else 0.01
    own = features[:1]
    fits = len(features) == num_rows and alone.shape == own.shape
    if fits:
        first, other = (one.double().nan_to_num(0.0, 0.0, 0.0) for one in (own, alone))
        fits = float((first - other).norm()) <= rounding * float(first.norm())
    if not fits:
        raise InvalidValueError(
            "the frozen part of the network must give a row of features for each row, whatever is "
            f"beside it. Got {tuple(features.shape)} for {num_rows} and {tuple(alone.shape)} for "
            f"the first alone, behind {layer}."
        )


def _are_close(rows: RowSpec | None, outputs: object, expected: object) -> bool:
    several = [
        (value,) if rows is None else rows.output_tuple(value) for value in (outputs, expected)
    ]
    pairs = zip(*several, strict=True)
    return all(torch.allclose(one, other, rtol=1e-3, atol=1e-3) for one, other in pairs)


def _rows_of(positions: Samples, num_images: int, *, first: int) -> Samples:
    rows = np.full(num_images, -1, dtype=np.int64)
    rows[positions] = first + np.arange(len(positions))
    return rows


def _computing_in(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[None]:
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16)
