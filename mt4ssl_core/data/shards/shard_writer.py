"""Writing shards: each tar is there whole, with its index, or not at all.

The order of the utterances is drawn once, here, since shards are read from their beginning to their
end: what lies together in a corpus (a speaker, a book) would stay together in every epoch.
"""

import json
import tarfile
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import closing, suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from lhotse.cut import Cut

from mt4ssl_core.config import SAMPLE_RATE
from mt4ssl_core.data.audio import MIN_SAMPLES, audio_name
from mt4ssl_core.data.audio_bar import AudioBar, ahead
from mt4ssl_core.data.cuts import Cuts
from mt4ssl_core.data.labels import FRAME_RATE, LabelStore
from mt4ssl_core.data.manifest import MAX_SKIPPED, Manifest, open_manifest
from mt4ssl_core.data.shards.encoding import Encoded, encoded
from mt4ssl_core.data.shards.shard_folder import ALL, open_shards
from mt4ssl_core.data.shards.shard_index import FORMAT, INDEX, LABELS, META, Rows, ShardIndex
from mt4ssl_core.data.shards.tar_members import add_member
from mt4ssl_core.files import (
    atomic_path,
    read_json,
    refuse_others,
    remove_leftovers,
    sha256_of,
    user_path,
    write_json,
)
from mt4ssl_core.locks import lock
from mt4ssl_core.settings.frames import num_frames
from mt4ssl_core.settings.shards import FACTS, FORMATS, JOB, SHARD_MB
from mt4ssl_core.threads import cores

_MOST = 1_000_000  # utterances in a tar


@dataclass
class _Job:
    """What is written where; ``order``: of the cuts, as they will lie in the shards."""

    out: Path
    cuts: Cuts
    order: np.ndarray
    labels: LabelStore | None
    format: str
    most: int  # bytes of a tar
    strict: bool
    bar: AudioBar

    def tar(self, number: int) -> Path:
        return self.out / f"shard-{number:06d}.tar"


def shard(
    source: str | Path,
    out: str | Path,
    *,
    labels: str | Path | None = None,
    label_rate: float = FRAME_RATE,
    shard_mb: float = SHARD_MB,
    format: str = FORMATS[0],
    seed: int = 0,
    keep_order: bool = False,
    strict: bool = False,
    max_skipped: float = MAX_SKIPPED,
) -> dict[str, Any]:
    """Write the audio of a corpus, and its labels, as tar files of about ``shard_mb`` into ``out``.

    ``source``, ``labels``, ``label_rate``: as data.train, data.labels and data.label_rate of
    pre-training; the labels in shards are at 50 per second. ``format``: see `encoding.encoded`.
    ``seed``: of the order of the utterances, unless they ``keep_order``. Started again after an
    interruption with the same arguments it goes on where it stopped. Returns what it writes to
    ``out``/shards.json.

    Raises:
        ValueError: a corpus or labels that cannot be used, other shards, other files or somebody
            else writing in ``out``, with ``strict`` the first file that cannot be read; more than
            the share ``max_skipped`` unusable (what was written is kept then).
    """
    if format not in FORMATS:
        raise ValueError(f"format {format!r}: unknown; use {', '.join(FORMATS)}")
    out, source = user_path(out), user_path(source)
    shortest = MIN_SAMPLES / SAMPLE_RATE
    manifest = open_manifest(source, min_seconds=shortest, strict=strict, max_skipped=max_skipped)
    store = None if labels is None else _labels_of(manifest, labels, label_rate, source)
    request = {
        **_request(source, manifest.cuts, store),
        "label_rate": label_rate,
        "audio": format,
        "shard_mb": shard_mb,
        "seed": None if keep_order else seed,
    }
    count = len(manifest.cuts)
    order = np.arange(count) if keep_order else np.random.default_rng(seed).permutation(count)
    with lock(out / ".shards.lock", str(out)), AudioBar.over("shard", manifest, True) as bar:
        remove_leftovers(out)
        if _is_done(out, request):
            bar.say(f"{out}: these shards are there already")
            return read_json(out / FACTS)
        job = _Job(out, manifest.cuts, order, store, format, int(shard_mb * 1e6), strict, bar)
        facts = _write_all(job) | {"classes": store and store.num_classes, "request": request}
        bar.close()
        remedy = "what was written is kept; mend the files named, or allow more with --max-skipped"
        bar.check(str(source), max_skipped, remedy)
        if not facts["utterances"]:
            raise ValueError(f"{source}: no usable audio ({bar.failed} skipped); give other audio")
        write_json(out / FACTS, facts)
        open_shards(out).index.save(out / ALL)
        (out / JOB).unlink()
    bar.say(
        f"shards: {facts['utterances']:,} utterances, {facts['hours']:.2f} h, in "
        f"{facts['shards']:,} tars of {out}"
    )
    return facts


def _labels_of(
    manifest: Manifest, labels: str | Path, label_rate: float, source: Path
) -> LabelStore:
    """Return the labels, of which every utterance has as many as it has frames."""
    store = LabelStore.open(labels, label_rate=label_rate, audio=source)
    store.check_cuts(manifest.cuts)
    return store


def _request(source: Path, cuts: Cuts, labels: LabelStore | None) -> dict[str, Any]:
    """What shards of a corpus are made of: with anything else they are others."""
    digest = blake2b(cuts.samples.tobytes(), digest_size=16)
    for ids in cuts.id_bytes():
        digest.update(ids)
    return {
        "format": FORMAT,
        "source": str(source.resolve()),
        "corpus": digest.hexdigest(),
        "labels": None if labels is None else sha256_of(labels.path),
    }


def _is_done(out: Path, request: dict[str, Any]) -> bool:
    """Whether all is written; else ``out`` is free for this job, or holds a part of it.

    Raises:
        ValueError: it holds something else.
    """
    for path in (out / FACTS, out / JOB):
        if path.exists():
            found = read_json(path)
            there = found.get("request", found) if isinstance(found, dict) else {}
            there = there if isinstance(there, dict) else {}
            if there == request:
                return path.name == FACTS
            other = [key for key in request if there.get(key) != request[key]]
            raise ValueError(
                f"{path}: shards of another {', '.join(other)} are there; give a new folder"
            )
    refuse_others(str(out), out, JOB)
    write_json(out / JOB, request)
    return False


def _write_all(job: _Job) -> dict[str, Any]:
    """Write the tars that are not there yet, and return what there is."""
    number, samples, utterances, clipped = 0, 0, 0, 0
    for index in _parts(job):
        number += 1
        utterances += len(index)
        samples += int(index.columns["samples"].sum())
        clipped += index.about["clipped"]
    if clipped:
        job.bar.say(f"clipped: {clipped} utterances are louder than 16 bits hold; see --format")
    hours = round(samples / SAMPLE_RATE / 3600, 4)
    return {"format": FORMAT, "shards": number, "utterances": utterances, "hours": hours}


def _parts(job: _Job) -> Iterator[ShardIndex]:
    """Yield the indexes of all tars; those behind the last that is whole are written."""
    number, place = 0, 0
    while place < len(job.order) and (index := _finished(job, number, place)) is not None:
        for path, reason in index.about["skipped"]:
            job.bar.skip(path, reason)
        for samples in index.columns["samples"].tolist():
            job.bar.advance(samples / SAMPLE_RATE)
        yield index
        number, place = number + 1, index.about["next"]
    left = (job.cuts[int(i)] for i in job.order[place:])
    with closing(ahead(left, lambda cut: encoded(cut, job.format), cores(), True)) as utterances:
        while place < len(job.order):
            index = _write_one(job, job.tar(number), utterances, place)
            yield index
            number, place = number + 1, index.about["next"]


def _finished(job: _Job, number: int, place: int) -> ShardIndex | None:
    """Return the index of a tar that is whole, and begins at this place of the order."""
    tar = job.tar(number)
    with suppress(ValueError, OSError):
        index = ShardIndex.load(tar.with_suffix(INDEX))
        if index.tars == [tar] and index.whole() and _is_part(index, place, len(job.order)):
            return index
    return None


def _is_part(index: ShardIndex, place: int, count: int) -> bool:
    """Whether an index says what `_write_one` writes of a tar that begins here, of ``count``."""
    about, skipped = index.about, index.about.get("skipped")
    numbers = all(type(about.get(name)) is int for name in ("first", "next", "clipped"))
    if not numbers or not isinstance(skipped, list):
        return False
    pairs = [[type(text) for text in pair] for pair in skipped if isinstance(pair, list)]
    if pairs != [[str, str]] * len(skipped) or not about["first"] == place < about["next"] <= count:
        return False
    return len(index) + len(skipped) == about["next"] - place


def _write_one(
    job: _Job, tar: Path, utterances: Iterator[tuple[Cut, Future]], place: int
) -> ShardIndex:
    """Write a tar of utterances, as many as it may hold, and its index."""
    rows, skipped, clipped, first = Rows(), [], 0, place
    with atomic_path(tar) as temporary:
        with tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as archive:
            for cut, future in utterances:
                place += 1
                try:
                    key = f"{tar.stem[-6:]}{len(rows.numbers):06d}"
                    clipped += _add(job, archive, key, cut, future, rows)
                except ValueError as error:
                    if job.strict:
                        raise
                    skipped.append((audio_name(cut), str(error)))
                    job.bar.skip(*skipped[-1])
                if archive.offset >= job.most or len(rows.numbers) == _MOST:
                    break
        size = temporary.stat().st_size
    about = {"first": first, "next": place, "skipped": skipped, "clipped": clipped}
    starts = np.array([0, len(rows.numbers)], dtype=np.int64)
    index = ShardIndex([tar], [size], starts, rows.columns(), about)
    index.save(tar.with_suffix(INDEX))
    return index


def _add(
    job: _Job, archive: tarfile.TarFile, key: str, cut: Cut, audio: Future, rows: Rows
) -> bool:
    """Append an utterance: who it is, its labels, its audio; says whether that was clipped."""
    found: Encoded = audio.result()
    samples, frames = found.samples, num_frames(found.samples)
    if not frames:
        raise ValueError(f"{cut.id}: {samples} samples are less than one frame; leave it out")
    line = b"" if job.labels is None else _line(job.labels.frames(cut.id, frames))
    meta = json.dumps({"id": cut.id, "samples": samples}).encode()
    add_member(archive, f"{key}.{META}", meta)
    labels = (0, 0) if job.labels is None else add_member(archive, f"{key}.{LABELS}", line)
    rows.add(cut.id, samples, add_member(archive, f"{key}.{found.suffix}", found.content), labels)
    job.bar.advance(samples / SAMPLE_RATE)
    return found.clipped


def _line(labels: np.ndarray) -> bytes:
    """Return labels as they stand in a .km; those that a row lacks at its end have none."""
    return " ".join(map(str, labels[labels >= 0].tolist())).encode()
