"""Utterances to be encoded: found in files, folders and lists, read ahead, and skipped by name."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from lhotse.cut import Cut

from mt4ssl_core.data.audio import (
    MIN_SAMPLES,
    SAMPLE_RATE,
    audio_name,
    load_wave,
    num_samples,
    read_header,
)
from mt4ssl_core.data.audio_bar import AudioBar
from mt4ssl_core.data.audio_folder import is_audio
from mt4ssl_core.data.cuts import ListedCuts
from mt4ssl_core.data.ffmpeg_audio import SUFFIXES as FFMPEG
from mt4ssl_core.data.manifest import Manifest, open_manifest
from mt4ssl_core.files import user_path
from mt4ssl_core.labelling.frame_features import out_of_memory


@dataclass(frozen=True)
class Utterance:
    """Audio to be encoded; what it is called in its list, and its length in samples at 16 kHz."""

    name: str
    source: Path | Cut
    samples: int


U = TypeVar("U", bound=Utterance)
Result = TypeVar("Result")


def find(sources: Iterable[str | Path], strict: bool) -> tuple[list[Utterance], Manifest]:
    """Return the utterances of audio files, folders, lists; and, without cuts, their hours and
    what was wrong.

    Raises:
        ValueError: no such file, nothing to read, or with ``strict`` the first unreadable file.
    """
    utterances: list[Utterance] = []
    found = Manifest(ListedCuts(), 0.0)
    for source in map(user_path, sources):
        if source.is_dir() or not (is_audio(source.name) or source.suffix.lower() in FFMPEG):
            manifest = open_manifest(source, min_seconds=MIN_SAMPLES / SAMPLE_RATE, strict=strict)
            found.skipped += manifest.skipped
            found.unreadable += manifest.unreadable
            found.notes += manifest.notes
            utterances += [Utterance(cut.id, cut, num_samples(cut)) for cut in manifest.cuts]
        else:
            utterances += _single(source, strict, found)
    if not utterances:
        skipped = found.skipped
        first = f", first {skipped[0][0]}: {skipped[0][1]}" if skipped else ""
        raise ValueError(f"no usable audio ({len(skipped)} skipped{first}); give other files")
    found.hours = sum(utterance.samples for utterance in utterances) / SAMPLE_RATE / 3600
    return utterances, found


def _single(path: Path, strict: bool, found: Manifest) -> list[Utterance]:
    """One audio file; none, and a line in ``found``, when it cannot be read."""
    try:
        rate, _, frames = read_header(path)
    except ValueError as error:
        if strict or not path.exists():
            raise
        found.skipped.append((str(path), str(error).removeprefix(f"{path}: ")))
        found.unreadable += 1
        return []
    return [Utterance(path.name, path, round(frames * SAMPLE_RATE / rate))]


def read_ahead(
    batches: Iterable[list[U]], strict: bool, bar: AudioBar
) -> Iterator[tuple[list[U], list[np.ndarray]]]:
    """Read the next batch while the last one is encoded; unreadable audio is named and left out.

    Raises:
        ValueError: with ``strict`` the first unreadable file.
    """

    def load(batch: list[U]) -> tuple[list[U], list[np.ndarray], list[str]]:
        good, waves, problems = [], [], []
        for utterance in batch:
            try:
                wave = load_wave(utterance.source)
                if len(wave) < MIN_SAMPLES:
                    name = audio_name(utterance.source)
                    raise ValueError(f"{name}: shorter than one frame (25 ms)")
            except ValueError as error:
                if strict:
                    raise
                problems.append(str(error))
                continue
            good.append(utterance)
            waves.append(wave)
        return good, waves, problems

    pending: deque[Future[tuple[list[U], list[np.ndarray], list[str]]]] = deque()
    pool = ThreadPoolExecutor(1)
    try:
        for batch in batches:
            pending.append(pool.submit(load, batch))
            if len(pending) == 2:
                yield from _named(pending.popleft().result(), bar)
        while pending:
            yield from _named(pending.popleft().result(), bar)
    finally:
        pool.shutdown(cancel_futures=True)


def _named(
    loaded: tuple[list[U], list[np.ndarray], list[str]], bar: AudioBar
) -> Iterator[tuple[list[U], list[np.ndarray]]]:
    utterances, waves, problems = loaded
    for problem in problems:
        name, _, reason = problem.partition(": ")
        bar.skip(name, reason)
    if utterances:
        yield utterances, waves


def within_memory(
    encode: Callable[[Sequence[np.ndarray]], Sequence[Result]],
    batch: list[U],
    waves: list[np.ndarray],
    strict: bool,
    bar: AudioBar,
) -> Iterator[tuple[U, Result]]:
    """Yield utterances with what ``encode`` makes of them: together; where the memory is short,
    alone; and then named and skipped.

    Raises:
        ValueError: with ``strict`` the first that the memory is too short for.
    """
    try:
        done = encode(waves)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        if len(batch) > 1:
            for utterance, wave in zip(batch, waves, strict=True):
                yield from within_memory(encode, [utterance], [wave], strict, bar)
            return
        reason = f"out of memory over {batch[0].samples / SAMPLE_RATE:.0f} s; cut it into pieces"
        if strict:
            raise ValueError(f"{audio_name(batch[0].source)}: {reason}") from None
        bar.skip(audio_name(batch[0].source), reason)
        return
    yield from zip(batch, done, strict=True)
