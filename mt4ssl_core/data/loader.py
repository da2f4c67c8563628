"""The batches of each epoch for pre-training: utterances in groups of similar length.

lhotse describes the audio (see ``manifest.py``). Grouping is done here and not by its samplers,
because theirs can exceed the wanted seconds, leave a partly filled batch in every bucket, and
repeat utterances so that all processes have equally many; and because skipping to the middle of an
epoch has to cost nothing.
"""

import math
import multiprocessing.connection
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import Protocol

import numpy as np
import torch
from lhotse.cut import Cut
from torch.utils.data import DataLoader, Dataset, Sampler

from mt4ssl_core.config import MaskingConfig
from mt4ssl_core.data.audio import (
    HOP,
    SAMPLE_RATE,
    audio_name,
    num_samples,
    own_rate,
    read_header,
)
from mt4ssl_core.data.batch import Batch, BatchReader, Labels
from mt4ssl_core.data.cuts import Cuts
from mt4ssl_core.data.labels import TOLERANCE, LabelStore
from mt4ssl_core.data.loader_workers import deaths_wait, obituary, signals_wait, start_worker
from mt4ssl_core.data.manifest import Manifest
from mt4ssl_core.data.shards.shard_order import ShardOrder, Shards

_DYING = 2.0  # seconds until a killed process, whose connections are closed, counts as ended
_WIDTH = 1.05  # longest / shortest in a bucket, when the number of buckets is not given


class BatchSettings(Protocol):
    """What a loader asks of the ``data`` of a configuration, whatever the run is."""

    max_seconds: float
    batch_seconds: float
    buckets: int
    workers: int
    strict: bool


class PretrainLoader:
    """Makes the batches of each epoch.

    In an epoch every utterance is in exactly one batch. The batches and their order depend on
    (seed, epoch) only, and an utterance's crop on (seed, epoch, id): not on the number of workers,
    nor on where the epoch is entered. Of the sequence that a single process gets, process ``rank``
    gets every ``world_size``-th batch; those missing in the last round are empty.

    Args:
        manifest: the utterances.
        labels: offline labels of all of them, or None.
        cfg: sizes. Utterances longer than ``max_seconds`` (or ``batch_seconds``) are cropped, so
            that no batch has more than ``batch_seconds``, padding included.
        normalize: bring each whole utterance to zero mean and unit variance (before it is cropped).
        normalize_eps: added to the variance for that.
        seed: of the order and the crops.
        rank: of this process.
        world_size: number of processes.
        masking: which frames the batches hide; None: none, and they have no mask.
        hop: samples from one frame of the encoder to the next.
        shuffle_hours: of a corpus in shards that are shuffled together (see `shard_order`), where
            it has more per process; None: everything is, as where there are no shards. The
            processes then read different shards, so what one process alone gets is another order.
        crop: False keeps every utterance whole; one that is longer than a batch is one by itself.

    Raises ValueError when an utterance has no labels, or another number than it has frames.
    """

    def __init__(
        self,
        manifest: Manifest,
        labels: Labels | None,
        cfg: BatchSettings,
        *,
        normalize: bool,
        normalize_eps: float = 1e-5,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        crop: bool = True,
        masking: MaskingConfig | None = None,
        hop: int = HOP,
        shuffle_hours: float | None = None,
    ):
        assert 0 <= rank < world_size
        self.cuts = manifest.cuts
        self.cfg, self.seed, self.rank, self.world_size = cfg, seed, rank, world_size
        if isinstance(labels, LabelStore):  # at once: a run may meet such a row hours later
            labels.check_cuts(self.cuts, hint=partial(_length_hint, self.cuts))
        longest = int(min(cfg.max_seconds, cfg.batch_seconds) * SAMPLE_RATE) if crop else None
        self.reader = BatchReader(
            labels, normalize, normalize_eps, seed, longest, cfg.strict, masking, hop
        )
        lengths = self.cuts.samples
        self.lengths = lengths if longest is None else np.minimum(lengths, longest)
        self.order = self._shard_order(shuffle_hours)

    def _shard_order(self, hours: float | None) -> ShardOrder | None:
        """Return the order of a corpus in shards that is too long to be shuffled as a whole."""
        if hours is None or self.seconds <= hours * 3600 * self.world_size:
            return None
        shards = Shards.of(self.cuts)
        if shards is None:
            return None
        window = hours * 3600 * SAMPLE_RATE
        return ShardOrder(shards, self.lengths, self._group, self.seed, self.world_size, window)

    @property
    def seconds(self) -> float:
        """Audio of an epoch, of all processes."""
        return int(self.lengths.sum()) / SAMPLE_RATE

    @property
    def fingerprint(self) -> str:
        """A name of the ids and lengths, in their order: others make other batches.

        So do other processes, where each reads shards of its own.
        """
        digest = blake2b(self.lengths.tobytes(), digest_size=16)
        for ids in self.cuts.id_bytes():
            digest.update(ids)
        if self.order is not None:
            digest.update(b"shared by %d" % self.world_size)
        return digest.hexdigest()

    def num_batches(self, epoch: int) -> int:
        """Return how many batches each process gets in this epoch."""
        return len(self._plan(epoch, 0))

    def batches(self, epoch: int, start: int = 0, earlier: int = 0) -> Iterator[Batch]:
        """Yield this process's batches of an epoch from number ``start`` on.

        The first ``earlier`` batches of the sequence that a single process gets are nobody's.

        Skipping decodes nothing. Worker processes live as long as the iterator; closing it ends
        them. Raises ValueError naming the file: with ``strict`` the first that cannot be decoded
        (else it is in ``Batch.skipped``); or naming a worker process that was killed.
        """
        plan = self._plan(epoch, start, earlier)
        if not len(plan):
            return
        loader = DataLoader(
            _EpochData(self.reader, epoch),
            batch_size=None,
            sampler=plan,
            num_workers=min(self.cfg.workers, len(plan)),
            worker_init_fn=start_worker,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),  # or it would advance the global one, which resuming sees
        )
        others = multiprocessing.active_children()
        with signals_wait():
            iterator = iter(loader)
        workers = [child for child in multiprocessing.active_children() if child not in others]
        deaths_wait()
        try:
            for batch in iterator:
                if isinstance(batch, str):
                    raise ValueError(batch)
                yield batch
        except (RuntimeError, OSError, EOFError) as error:  # as it was waited for, or spoke
            sentinels = [worker.sentinel for worker in workers]
            closed = multiprocessing.connection.wait(sentinels, _DYING)
            for worker in workers:
                if worker.sentinel in closed:
                    worker.join(_DYING)  # it closes what it has a moment before it ends
            ended = [worker for worker in workers if worker.exitcode]
            dead = sorted(ended, key=lambda worker: worker.exitcode or 0)  # killed ones first
            if not dead:
                raise
            raise ValueError(obituary(dead[0].pid, dead[0].exitcode)) from error
        finally:
            del iterator  # ends the workers
            if any(worker.exitcode for worker in workers):  # else one may wait for the dead one
                for worker in workers:
                    worker.kill()

    def plan(self, epoch: int) -> list[np.ndarray]:
        """Return the places of the utterances in each batch that this process gets, by batch.

        Empty ones at the end stand for batches that there are not.
        """
        return list(self._plan(epoch, 0).groups)

    def _plan(self, epoch: int, start: int, earlier: int = 0) -> "_Plan":
        """What this process reads in an epoch, from batch number ``start`` on."""
        if self.order is not None:
            assert not earlier, "shards are read anew by another number of processes"
            count = max(0, self.order.rounds(epoch) - start)
            return _Plan(self.cuts, self.order.batches(epoch, self.rank, start), count)
        groups = self._groups(epoch)[earlier:]
        groups += [np.zeros(0, dtype=np.int64)] * (-len(groups) % self.world_size)
        mine = groups[self.rank :: self.world_size][start:]
        return _Plan(self.cuts, mine, len(mine))

    def _groups(self, epoch: int) -> list[np.ndarray]:
        """Indices of the utterances in each batch of an epoch, for all processes."""
        if not len(self.cuts):
            return []
        return self._group(self.lengths, np.random.default_rng([self.seed, epoch]))

    def _group(self, lengths: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
        most = int(self.cfg.batch_seconds * SAMPLE_RATE)
        return group_by_length(lengths, most, self.cfg.buckets, rng)


def group_by_length(
    lengths: np.ndarray, most: int, buckets: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Put utterances into batches of at most ``most`` samples, padding included, in random order.

    ``lengths`` (U,) are in samples. Utterances are shuffled inside ``buckets`` buckets, whose
    bounds grow geometrically and move from draw to draw (0: buckets 5 % wide), then cut into
    batches from the longest bucket to the shortest. A batch that a bucket cannot fill goes on with
    the next one, so only the last is partly filled. Returns index arrays; an utterance longer than
    ``most`` is a batch by itself.
    """
    logs = np.log(lengths)
    width = max((logs.max() - logs.min()) / buckets, 1e-6) if buckets else math.log(_WIDTH)
    bucket = ((logs - logs.min()) / width + rng.random()).astype(np.int32)  # (U,)
    del logs
    order = np.lexsort((rng.random(len(lengths)), -bucket))
    counts = np.bincount(bucket)
    longest = np.ones(len(counts), dtype=np.int64)
    np.maximum.at(longest, bucket, lengths)
    sizes = np.maximum(1, most // longest)  # of a batch that starts in a bucket
    starts, first, end = [], 0, 0
    for number in np.flatnonzero(counts)[::-1]:
        end += int(counts[number])
        starts.append(np.arange(first, end, sizes[number]))
        first += len(starts[-1]) * int(sizes[number])
    bounds = np.append(np.concatenate(starts), len(order))
    chosen = rng.permutation(len(bounds) - 1)
    pairs = zip(bounds[chosen].tolist(), bounds[chosen + 1].tolist(), strict=True)
    return [order[start:stop] for start, stop in pairs]


def _length_hint(cuts: Cuts, place: int) -> str:
    """Say so if the length that a manifest gives for an utterance is not that of its file."""
    cut = cuts[place]
    try:
        rate, _, frames = read_header(audio_name(cut))
    except ValueError:
        return ""
    listed, real = num_samples(cut), round(frames * SAMPLE_RATE / rate)
    if hint := own_rate(listed, frames, rate):
        return f"the list of audio gives {listed} samples{hint}; make it again"
    if abs(listed - real) > TOLERANCE * HOP:
        return (
            f"the list of audio gives {listed} samples, but the file has {real}; correct the list"
        )
    return ""


@dataclass(frozen=True)
class _Plan(Sampler[list[Cut]]):
    """The batches to be read; cuts are made a few batches before they are used."""

    cuts: Cuts
    groups: Iterable[np.ndarray]
    count: int

    def __iter__(self) -> Iterator[list[Cut]]:
        return ([self.cuts[index] for index in group] for group in self.groups)

    def __len__(self) -> int:
        return self.count


@dataclass(frozen=True)
class _EpochData(Dataset):
    reader: BatchReader
    epoch: int

    def __getitem__(self, cuts: list[Cut]) -> Batch | str:
        """Return the batch, or the message of a ValueError (raised, it would drag a traceback)."""
        try:
            return self.reader.read(cuts, self.epoch)
        except ValueError as error:
            return str(error)
