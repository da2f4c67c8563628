"""What audio there is: a folder, a fairseq ``.tsv``, a CSV, a lhotse CutSet or a Shar folder
becomes cuts.

Folders are looked through once per run, headers only. With a hundred thousand files or a slow file
system write a ``.tsv`` or a CutSet once and give that: then only the files' existence is checked,
and of a few whether their lengths are at 16 kHz. What a large ``.tsv`` says is kept in columns (see
``columns.py``), so that this is done once, and utterances take no memory as objects.
"""

import os
import tarfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import lhotse
import numpy as np
from lhotse import AudioSource
from lhotse.cut import Cut, MonoCut, MultiCut

from mt4ssl_core.bars import Bar
from mt4ssl_core.config import DataConfig
from mt4ssl_core.data import csv_tables
from mt4ssl_core.data.audio import (
    MAX_HOURS,
    MIN_SAMPLES,
    SAMPLE_RATE,
    SPAN,
    SUFFIXES,
    length_problem,
    num_samples,
    read_header,
    reading_audio,
)
from mt4ssl_core.data.audio_folder import AudioFolder
from mt4ssl_core.data.audio_index import AudioIndex, IndexedCuts
from mt4ssl_core.data.containers import check_regular
from mt4ssl_core.data.cut_sources import file_sources
from mt4ssl_core.data.cuts import Cuts, ListedCuts, file_cut
from mt4ssl_core.data.list_files import THREADS, look_at_files, require_files
from mt4ssl_core.data.shards.shard_folder import ShardCuts, is_shards, open_shards
from mt4ssl_core.files import user_path

_MANY = 500  # files whose headers take long to read
MAX_SKIPPED = DataConfig.max_skipped  # share of files that may be unusable


@dataclass
class Manifest:
    """Utterances that can be used, and what was left out.

    cuts: one per utterance; ids are unique (in a folder: the path relative to it).
    hours: total length of the cuts. skipped: (path, reason) of every file that is not used.
    unreadable: how many of these could not be read (the others are too short). notes: lines about
    what was not looked at, to be shown.
    """

    cuts: Cuts
    hours: float
    skipped: list[tuple[str, str]] = field(default_factory=list)
    unreadable: int = 0
    notes: list[str] = field(default_factory=list)


def check_share(what: str, failed: int, total: int, most: float, remedy: str) -> None:
    """Raise ValueError when more than the share ``most`` of the files of ``what`` were unusable.

    A single one never is too many, unless ``most`` is 0.
    """
    if failed > most * total and (failed > 1 or most == 0 or total == 1):
        raise ValueError(
            f"{what}: {failed} of {total} files could not be used, more than {100 * most:.3g} %; "
            f"{remedy}"
        )


def open_manifest(
    source: str | Path,
    *,
    min_seconds: float,
    strict: bool = False,
    max_skipped: float = 1.0,
    texts: bool = False,
) -> Manifest:
    """List the utterances of at least ``min_seconds`` (and one frame: 400 samples) in ``source``.

    ``source``: a folder of audio (looked through with all its subfolders; any rate and number of
    channels), a fairseq ``.tsv``, a ``.csv`` with a column ``path`` (relative to it), a lhotse
    CutSet (``.jsonl``, ``.jsonl.gz``), a Shar folder (``cuts.*.jsonl.gz`` with
    ``recording.*.tar``, local files), or a folder that `mt4ssl data shard` wrote. ``texts``: the
    caller reads the ``.txt`` files of a folder.

    Raises ValueError naming the culprit: nothing at ``source``, no audio in it, another kind of
    file, a manifest that names a missing file or an id twice, nothing long enough, more than the
    share ``max_skipped`` unreadable; with ``strict`` also the first unreadable, empty or too short
    file, which else is skipped and listed.
    """
    source = user_path(source)
    found = Manifest(ListedCuts(), 0.0)
    shortest = max(min_seconds, MIN_SAMPLES / SAMPLE_RATE)
    if is_shards(source):
        found.cuts = _sift_shards(source, found, shortest, strict)
    elif source.suffix == ".tsv" and source.exists() and not source.is_dir():
        found.cuts = _sift_rows(source, found, shortest, strict)
    else:
        found.cuts = _sift(source, _listing(source, found.notes, texts), found, shortest, strict)
    skipped = found.skipped
    first = f"first {skipped[0][0]}: {skipped[0][1]}" if skipped else ""
    if not len(found.cuts):
        first = f", {first}" if first else ""
        raise ValueError(
            f"{source}: no usable audio ({len(skipped)} skipped{first}); "
            "give other audio or lower data.min_seconds"
        )
    remedy = f"{first}; mend or remove them, or allow more (data.max_skipped, --max-skipped)"
    check_share(
        str(source), found.unreadable, len(found.cuts) + found.unreadable, max_skipped, remedy
    )
    found.hours = hours_of(found.cuts)
    return found


def split_valid(manifest: Manifest, share: float, seed: int = 0) -> tuple[Manifest, Manifest]:
    """Return (train, valid): each utterance is held out with probability ``share``, by its id.

    The same ids and seed give the same split in every run, and an utterance keeps its side when
    others are added. A positive share holds out at least one utterance and leaves at least one.
    """
    if share <= 0 or len(manifest.cuts) < 2:
        return manifest, Manifest(ListedCuts(), 0.0)
    place = manifest.cuts.hashes(seed) / 2.0**64  # (U,), from 0 to 1
    held_out = place < share
    if not held_out.any():
        held_out[place.argmin()] = True
    if held_out.all():
        held_out[place.argmax()] = False
    valid = manifest.cuts.take(np.flatnonzero(held_out))
    train = manifest.cuts.take(np.flatnonzero(~held_out))
    return replace(manifest, cuts=train, hours=hours_of(train)), Manifest(valid, hours_of(valid))


def hours_of(cuts: Cuts) -> float:
    """Return the length of all cuts together."""
    return int(cuts.samples.sum()) / SAMPLE_RATE / 3600


Listed = tuple[Cut | None, str, str]  # (cut if it could be made, its name, what is wrong or "")


def _sift(
    source: Path, listing: Iterable[Listed], found: Manifest, shortest: float, strict: bool
) -> ListedCuts:
    """Return the cuts that can be used; the others are noted in ``found``."""
    usable = []
    seen: set[str] = set()
    for cut, name, problem in listing:
        if cut is not None and not problem:
            problem = length_problem(cut.duration)
        found.unreadable += bool(problem)
        if cut is not None and not problem and num_samples(cut) < shortest * SAMPLE_RATE:
            problem = _too_short(cut.duration, shortest)
        if problem:
            _leave_out(found, name, problem, strict)
        elif cut is not None:
            if cut.id in seen:
                raise ValueError(
                    f"{source}: two utterances have the id {cut.id}; rename or remove one"
                )
            seen.add(cut.id)
            usable.append(cut)
    return ListedCuts(usable)


def _sift_rows(path: Path, found: Manifest, shortest: float, strict: bool) -> IndexedCuts:
    """The same of a ``.tsv``, all rows at once."""
    index = AudioIndex.open(path)
    found.notes += [index.note] if index.note else []
    problems = look_at_files(index)
    seconds = index.samples / SAMPLE_RATE
    for row in np.flatnonzero(seconds > MAX_HOURS * 3600).tolist():
        problems.setdefault(row, length_problem(seconds[row]))
    found.unreadable += len(problems)
    short = index.samples < shortest * SAMPLE_RATE
    for row in sorted({*np.flatnonzero(short).tolist(), *problems}):
        problem = _too_short(seconds[row], shortest)
        if row in problems:
            problem = f"{problems[row]} (line {row + 2} of {path})"
        _leave_out(found, str(index.file(row)), problem, strict)
    short[list(problems)] = True
    return IndexedCuts(index, np.flatnonzero(~short))


def _sift_shards(folder: Path, found: Manifest, shortest: float, strict: bool) -> ShardCuts:
    """The same of shards; that their utterances can be read was seen when they were written."""
    cuts = open_shards(folder)
    long = cuts.samples >= shortest * SAMPLE_RATE
    for place in np.flatnonzero(~long).tolist():
        problem = _too_short(cuts.samples[place] / SAMPLE_RATE, shortest)
        _leave_out(found, f"{folder} (cut {cuts.id(place)})", problem, strict)
    return cuts if long.all() else cuts.take(np.flatnonzero(long))


def _too_short(seconds: float, shortest: float) -> str:
    return f"{seconds:.3g} s, shorter than {shortest:g} s"


def _leave_out(found: Manifest, name: str, problem: str, strict: bool) -> None:
    if strict:
        raise ValueError(
            f"{name}: {problem}; remove it, lower data.min_seconds if it is short, or let "
            "such files be skipped (data.strict=false, without --strict)"
        )
    found.skipped.append((name, problem))


def _listing(source: Path, notes: list[str], texts: bool) -> Iterable[Listed]:
    if not source.exists():
        raise ValueError(
            f"{source}: no such file or folder; correct the path (data.train, data.valid)"
        )
    if source.is_dir():
        return _shar(source) if any(source.glob("cuts.*.jsonl*")) else _folder(source, notes, texts)
    if source.suffix == ".csv":
        return _csv(source)
    if source.name.endswith((".jsonl", ".jsonl.gz")):
        return _cut_set(source)
    raise ValueError(
        f"{source}: expected a folder of audio, a .tsv, a .csv, a CutSet (.jsonl, .jsonl.gz) or a "
        "Shar folder; give one of these"
    )


def _folder(root: Path, notes: list[str], texts: bool) -> Iterator[Listed]:
    found = AudioFolder.of(root)
    if note := found.note(texts):
        notes.append(note)
    for closed, problem in found.problems:
        yield None, closed, problem
    paths = found.audio
    if not paths and not found.problems:
        kinds = " ".join(sorted(SUFFIXES))
        also = f"; {note.removeprefix(f'{root}: ')}" if note else ""
        raise ValueError(
            f"{root}: no audio in this folder (looked for {kinds}){also}; give another"
        )
    yield from _files((path.relative_to(root).as_posix(), path) for path in paths)


def _csv(path: Path) -> Iterator[Listed]:
    _, rows = csv_tables.read_table(path, ["path"])
    for line, row in rows:
        if not row["path"].strip():
            raise ValueError(f"{path}, line {line}: no path; add it, or remove the line")
    yield from _files((row["path"], path.parent / user_path(row["path"])) for _, row in rows)


def _files(named: Iterable[tuple[str, Path]]) -> Iterator[Listed]:
    """Files by their ids, with what their headers say."""
    listed = list(named)
    pool = ThreadPoolExecutor(THREADS)
    try:
        headers = pool.map(_header, [path for _, path in listed])
        told = Bar("reading headers", len(listed), show=len(listed) > _MANY).over(headers)
        for (id, path), (header, problem) in zip(listed, told, strict=True):
            cut = None
            if header:
                rate, channels, frames = header
                cut = file_cut(id, path, rate, channels, frames)
            yield cut, str(path), problem
    finally:
        pool.shutdown(cancel_futures=True)


def _header(path: Path) -> tuple[tuple[int, int, int] | None, str]:
    try:
        return read_header(path), ""
    except ValueError as error:
        return None, str(error).removeprefix(f"{path}: ")


def _cut_set(path: Path) -> Iterator[Listed]:
    cuts = _read_cuts(path)

    files = {cut.id: _files_of(cut, path) for cut in cuts}
    irregular = require_files(path, (file for some in files.values() for file in some))
    for cut in cuts:
        problem = next((irregular[file] for file in files[cut.id] if file in irregular), "")
        yield cut, f"cut {cut.id}", problem or ("" if cut.has_recording else "has no recording")


def _files_of(cut: Cut, manifest: Path) -> list[Path]:
    try:
        return [Path(file) for file in file_sources(cut)]
    except ValueError as error:
        raise ValueError(f"{manifest}: cut {cut.id}: {error}") from None


def _read_cuts(path: Path) -> list[Cut]:
    reading_audio(str(path), lambda: check_regular(path))
    try:
        cuts = list(lhotse.load_manifest_lazy(path) or ())
    except Exception as error:
        raise ValueError(f"{path}: not a lhotse CutSet ({error}); write it again") from error
    if not all(isinstance(cut, Cut) for cut in cuts):
        raise ValueError(f"{path}: expected a lhotse CutSet; make one with `lhotse cut simple`")
    for place, cut in enumerate(cuts):
        start, length = getattr(cut, "start", 0), getattr(cut, "duration", None)
        numbers = all(isinstance(n, int | float) for n in (start, length))
        if not isinstance(cut.id, str) or not numbers or start < 0:
            raise ValueError(
                f"{path}: cut {place + 1} ({cut.id!r:.100}): its id should be text, its start and "
                f"duration seconds of at least 0, not {start!r:.40} and {length!r:.40}; write it "
                "again"
            )
    return cuts


def _shar(folder: Path) -> Iterator[Listed]:
    """Cuts whose audio is read from the tar files at random, by offset and size."""
    for shard in sorted(folder.glob("cuts.*.jsonl*")):
        tar = folder / f"recording.{shard.name.split('.')[1]}.tar"
        require_files(shard, [tar])
        cuts = _read_cuts(shard)
        try:
            with tarfile.open(tar, "r:") as archive:
                members = archive.getmembers()[::2]  # each is followed by its manifest
        except (tarfile.TarError, OSError) as error:
            raise ValueError(f"{tar}: cannot be read ({error}); write the Shar again") from error
        for cut, member in zip(cuts, members, strict=False):
            if os.path.splitext(member.name)[0] != cut.id:
                raise ValueError(
                    f"{tar}: holds {member.name} where {shard.name} has {cut.id}; write them again"
                )
            name = f"{tar} (cut {cut.id})"
            own = isinstance(cut, MonoCut | MultiCut) and cut.has_recording and member.size
            if not own or not cut.recording.sources:
                yield None, name, "has no recording of its own"
                continue
            channels = cut.recording.sources[0].channels
            cut.recording.sources = [AudioSource("file", channels, str(tar))]
            _files_of(cut, shard)
            cut.custom = {**(cut.custom or {}), SPAN: [member.offset_data, member.size]}
            yield cut, name, ""
        for cut in cuts[len(members) :]:
            yield None, f"{tar} (cut {cut.id})", "is not in the tar file"
