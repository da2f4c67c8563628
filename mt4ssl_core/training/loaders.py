"""Which audio a run learns from, and which it is validated on."""

from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mt4ssl_core.config import Config, DataConfig
from mt4ssl_core.data.batch import Batch, Labels
from mt4ssl_core.data.cuts import Cuts
from mt4ssl_core.data.labels import LabelStore
from mt4ssl_core.data.loader import PretrainLoader
from mt4ssl_core.data.manifest import Manifest, open_manifest, split_valid
from mt4ssl_core.data.selection import select
from mt4ssl_core.data.shards.shard_folder import ShardCuts
from mt4ssl_core.data.shards.shard_labels import ShardLabels
from mt4ssl_core.distributed import World
from mt4ssl_core.model.mt4ssl import MT4SSL
from mt4ssl_core.settings import selecting
from mt4ssl_core.training.progress import Progress

Numbered = tuple[Batch, int]  # a batch, and how many of its epoch are consumed with it


@dataclass(frozen=True)
class _Source:
    """The lists of audio and labels that the settings name.

    needs_labels: whether a target does. classes: that labels have to be below; 0: any.
    """

    data: DataConfig
    needs_labels: bool
    classes: int

    @classmethod
    def of(cls, cfg: Config, model: MT4SSL) -> "_Source":
        targets = list(model.each_target())
        classes = min((t.label_classes for t in targets if t.label_classes), default=0)
        return cls(cfg.data, any(target.needs_labels for target in targets), classes)

    def audio(self, path: str) -> Manifest:
        data = self.data
        return open_manifest(
            path,
            min_seconds=data.min_seconds,
            strict=data.strict,
            max_skipped=data.max_skipped,
        )

    def labels(self, path: str | None, audio: str, cuts: Cuts | None = None) -> Labels | None:
        rate = self.data.label_rate
        if self.needs_labels and isinstance(cuts, ShardCuts) and cuts.are_in(path or audio):
            return ShardLabels.of(cuts, self.classes, rate)
        if not self.needs_labels or not path:
            return None
        return LabelStore.open(path, self.classes, label_rate=rate, audio=audio)

    def keep(self) -> None:
        """Look at lists and labels, of which columns are kept for whoever looks next."""
        data = self.data
        for audio, km in ((data.train, data.labels), (data.valid, data.valid_labels)):
            if audio and Path(audio).suffix == ".tsv":
                self.audio(audio)
                self.labels(km, audio)


def open_data(
    cfg: Config, model: MT4SSL, world: World
) -> tuple[PretrainLoader, PretrainLoader | None, dict[str, Any], list[tuple[str, str]]]:
    """Loaders of the training and held-out audio, how much of it there is, and what was left out
    as (path, reason).
    """
    data, source = cfg.data, _Source.of(cfg, model)
    if world.size > 1:  # the others look at what the first process keeps
        world.on_main(source.keep)
    manifest = source.audio(data.train)
    left_out = list(manifest.skipped)
    labels = source.labels(data.labels, data.train, manifest.cuts)
    if data.valid is not None:
        held_out = source.audio(data.valid)
        left_out += held_out.skipped
        valid_labels = source.labels(data.valid_labels, data.valid, held_out.cuts)
    else:
        manifest, held_out = split_valid(manifest, data.valid_share)
        valid_labels = labels
    notes = manifest.notes + held_out.notes
    if data.select is not None:
        manifest, note = _selected(manifest, data.select)
        notes.append(note)
    kept = [store.note for store in {labels, valid_labels} if store and store.note]
    amounts = {
        "train_hours": round(manifest.hours, 4),
        "train_files": len(manifest.cuts),
        "held_out_hours": round(held_out.hours, 4),
        "left_out": [f"{path}: {reason}" for path, reason in left_out],
        "select": data.select,
        "not_looked_at": notes + kept,
    }
    # first: most labels are compared with their audio here
    hop = model.encoder.hop
    training = _loader(cfg, world, manifest, labels, hop, cfg.masking.repeats)
    valid = _loader(cfg, world, held_out, valid_labels, hop, 1) if held_out.hours > 0 else None
    return training, valid, amounts, left_out


def _loader(
    cfg: Config, world: World, manifest: Manifest, labels: Labels | None, hop: int, repeats: int
) -> PretrainLoader:
    return PretrainLoader(
        manifest,
        labels,
        cfg.data,
        normalize=cfg.encoder.normalize,
        normalize_eps=cfg.encoder.normalize_eps,
        seed=cfg.run.seed,
        rank=world.rank,
        world_size=world.size,
        masking=replace(cfg.masking, repeats=repeats),
        hop=hop,
        shuffle_hours=cfg.data.shuffle_hours,
    )


def _selected(manifest: Manifest, text: str) -> tuple[Manifest, str]:
    """The part of the training audio that data.select asks for, and what to say of it."""
    kept = select(manifest, selecting.parse(text))
    counts = f"{len(kept.cuts):,} of {len(manifest.cuts):,} utterances"
    return kept, f"data.select={text}: {kept.hours:.2f} of {manifest.hours:.2f} h, {counts}"


def endless(loader: PretrainLoader, progress: Progress) -> Generator[Numbered]:
    """Batches from where ``progress`` is on, each with how many of its epoch are then consumed."""
    epoch, start, earlier = progress.epoch, progress.batches, progress.earlier
    while True:
        count = start
        for count, batch in enumerate(loader.batches(epoch, start, earlier), start + 1):
            yield batch, count
        if count + earlier == 0:
            raise ValueError("no batch could be made of data.train; is data.min_seconds too high?")
        epoch, start, earlier = epoch + 1, 0, 0


def next_batches(
    batches: Generator[Numbered], number: int
) -> tuple[list[Numbered], Exception | None]:
    """The next ``number`` batches, or those before an error, and the error.

    It is not raised, because the other processes have to hear of it first.
    """
    found: list[Numbered] = []
    try:
        while len(found) < number:
            found.append(next(batches))
    except Exception as error:
        return found, error
    return found, None


def stop_all(world: World, error: Exception | None) -> None:
    """Raise ``error`` here, and a ValueError that says the same on the other processes.

    All processes call it when one has met an error.
    """
    said = world.gather(None if error is None else f"{error or type(error).__name__}")
    if error is not None:
        raise error
    rank = next(i for i, text in enumerate(said) if text is not None)
    raise ValueError(f"process {rank} stopped: {said[rank]}")
