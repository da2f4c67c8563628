"""What audio there is: a folder, a fairseq ``.tsv``, a lhotse CutSet or a Shar folder becomes cuts.

Folders are looked through once per run, headers only. With a hundred thousand files or a slow file
system write a ``.tsv`` or a CutSet once and give that: then only the files' existence is checked.
"""

import hashlib
import math
import os
import tarfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import lhotse
from lhotse import AudioSource, CutSet, Recording
from lhotse.cut import Cut, MonoCut, MultiCut
from tqdm import tqdm

from mt4ssl_core.audio import MIN_SAMPLES, SAMPLE_RATE, SPAN, SUFFIXES, num_samples, probe
from mt4ssl_core.labels import read_tsv

_THREADS = 8  # that read headers: file systems answer late, not slowly


@dataclass
class Manifest:
    """Utterances that can be used, and what was left out.

    cuts: eager, one per utterance; ids are unique (in a folder: the path relative to it).
    hours: total length of the cuts. skipped: (path, reason) of every file that is not used.
    """

    cuts: CutSet
    hours: float
    skipped: list[tuple[str, str]] = field(default_factory=list)


def open_manifest(source: str | Path, *, min_seconds: float, strict: bool = False) -> Manifest:
    """List the utterances of at least ``min_seconds`` (and one frame: 400 samples) in ``source``.

    ``source``: a folder of audio (looked through with all its subfolders; any rate and number of
    channels), a fairseq ``.tsv``, a lhotse CutSet (``.jsonl``, ``.jsonl.gz``), or a Shar folder
    (``cuts.*.jsonl.gz`` with ``recording.*.tar``, local files).

    Raises ValueError naming the culprit: nothing at ``source``, no audio in it, another kind of
    file, a manifest that names a missing file or an id twice, nothing long enough; with ``strict``
    also the first unreadable, empty or too short file, which else is skipped and listed.
    """
    source = Path(source)
    skipped: list[tuple[str, str]] = []
    usable = []
    seen: set[str] = set()
    shortest = max(min_seconds, MIN_SAMPLES / SAMPLE_RATE)
    for cut, name, problem in _listing(source):
        if cut is not None and not problem and num_samples(cut) < shortest * SAMPLE_RATE:
            problem = f"{cut.duration:.3g} s, shorter than {shortest:g} s"
        if problem:
            if strict:
                raise ValueError(
                    f"{name}: {problem}; remove it, lower data.min_seconds if it is short, or set "
                    "data.strict=false to skip such files"
                )
            skipped.append((name, problem))
        elif cut is not None:
            if cut.id in seen:
                raise ValueError(f"{source}: two utterances have the id {cut.id}; rename one")
            seen.add(cut.id)
            usable.append(cut)
    if not usable:
        first = f", first {skipped[0][0]}: {skipped[0][1]}" if skipped else ""
        raise ValueError(
            f"{source}: no usable audio ({len(skipped)} skipped{first}); "
            "give other audio or lower data.min_seconds"
        )
    return Manifest(CutSet(usable), _hours(usable), skipped)


def split_valid(manifest: Manifest, share: float, seed: int = 0) -> tuple[Manifest, Manifest]:
    """Return (train, valid): each utterance is held out with probability ``share``, by its id.

    The same ids and seed give the same split in every run, and an utterance keeps its side when
    others are added. A positive share holds out at least one utterance and leaves at least one.
    """
    if share <= 0 or len(manifest.cuts) < 2:
        return manifest, Manifest(CutSet([]), 0.0)
    place = {cut.id: stable_hash("valid", seed, cut.id) / 2**64 for cut in manifest.cuts}
    held_out = {id for id, number in place.items() if number < share}
    held_out = held_out or {min(place, key=place.__getitem__)}
    if len(held_out) == len(place):
        held_out.remove(max(place, key=place.__getitem__))
    train = [cut for cut in manifest.cuts if cut.id not in held_out]
    valid = [cut for cut in manifest.cuts if cut.id in held_out]
    return Manifest(CutSet(train), _hours(train), manifest.skipped), Manifest(
        CutSet(valid), _hours(valid)
    )


def stable_hash(*parts: object) -> int:
    """Return 64 bits that depend on ``parts`` alone, in every process and version of Python."""
    text = "\0".join(str(part) for part in parts)
    return int.from_bytes(
        hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    )


Listed = tuple[Cut | None, str, str]  # (cut if it could be made, its name, what is wrong or "")


def _listing(source: Path) -> Iterable[Listed]:
    if not source.exists():
        raise ValueError(f"{source}: no such file or folder; correct data.train or data.valid")
    if source.is_dir():
        return _shar(source) if any(source.glob("cuts.*.jsonl*")) else _folder(source)
    if source.suffix == ".tsv":
        return _tsv(source)
    if source.name.endswith((".jsonl", ".jsonl.gz")):
        return _cut_set(source)
    raise ValueError(
        f"{source}: expected a folder of audio, a .tsv, a CutSet (.jsonl, .jsonl.gz) or a Shar "
        "folder; give one of these"
    )


def _folder(root: Path) -> Iterator[Listed]:
    paths = sorted(_walk(root))
    if not paths:
        kinds = " ".join(sorted(SUFFIXES))
        raise ValueError(f"{root}: no audio in this folder (looked for {kinds}); give another")
    pool = ThreadPoolExecutor(_THREADS)
    try:
        headers = pool.map(_header, paths)
        bar = tqdm(headers, f"reading {root}", len(paths), unit="file", delay=2, disable=None)
        for path, (header, problem) in zip(paths, bar, strict=True):
            cut = None
            if header:
                rate, channels, frames = header
                cut = _file_cut(path.relative_to(root).as_posix(), path, rate, channels, frames)
            yield cut, str(path), problem
    finally:
        pool.shutdown(cancel_futures=True)


def _walk(root: Path) -> Iterator[Path]:
    """Audio files below ``root``; linked folders are followed, each real folder is seen once."""
    seen: set[str] = set()
    for folder, below, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            below.clear()
            continue
        seen.add(real)
        below.sort()
        for name in files:
            if Path(name).suffix.lower() in SUFFIXES and not name.startswith("."):
                yield Path(folder, name)


def _header(path: Path) -> tuple[tuple[int, int, int] | None, str]:
    try:
        return probe(path), ""
    except ValueError as error:
        return None, str(error).removeprefix(f"{path}: ")


def _file_cut(id: str, path: Path, rate: int, channels: int, frames: int) -> Cut:
    source = AudioSource("file", list(range(channels)), str(path))
    return Recording(id, [source], rate, frames, frames / rate).to_cut()


def _tsv(path: Path) -> Iterator[Listed]:
    rows = read_tsv(path)
    _require_files(path, (row.path for row in rows))
    for row in rows:
        yield _file_cut(row.id, row.path, SAMPLE_RATE, 1, row.num_samples), str(row.path), ""


def _cut_set(path: Path) -> Iterator[Listed]:
    cuts = _read_cuts(path)
    plain = (cut for cut in cuts if isinstance(cut, MonoCut | MultiCut) and cut.has_recording)
    sources = (source for cut in plain for source in cut.recording.sources)
    _require_files(path, (Path(source.source) for source in sources if source.type == "file"))
    for cut in cuts:
        yield cut, f"cut {cut.id}", "" if cut.has_recording else "has no recording"


def _read_cuts(path: Path) -> list[Cut]:
    try:
        cuts = list(lhotse.load_manifest_lazy(path) or ())
    except Exception as error:
        raise ValueError(f"{path}: not a lhotse CutSet ({error}); write it again") from error
    if not all(isinstance(cut, Cut) for cut in cuts):
        raise ValueError(f"{path}: expected a lhotse CutSet; make one with `lhotse cut simple`")
    return cuts


def _shar(folder: Path) -> Iterator[Listed]:
    """Cuts whose audio is read from the tar files at random, by offset and size."""
    for shard in sorted(folder.glob("cuts.*.jsonl*")):
        tar = folder / f"recording.{shard.name.split('.')[1]}.tar"
        _require_files(shard, [tar])
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
            if member.size == 0 or not cut.has_recording:
                yield None, name, "has no recording"
                continue
            channels = cut.recording.sources[0].channels
            cut.recording.sources = [AudioSource("file", channels, str(tar))]
            cut.custom = {**(cut.custom or {}), SPAN: [member.offset_data, member.size]}
            yield cut, name, ""
        for cut in cuts[len(members) :]:
            yield None, f"{tar} (cut {cut.id})", "is not in the tar file"


def _require_files(manifest: Path, paths: Iterable[Path]) -> None:
    missing = [path for path in dict.fromkeys(paths) if not path.is_file()]
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise ValueError(
            f"{manifest}: names {missing[0]}{more}, which does not exist; correct the manifest's "
            "root or remove the row"
        )


def _hours(cuts: Iterable[Cut]) -> float:
    return math.fsum(cut.duration for cut in cuts) / 3600
