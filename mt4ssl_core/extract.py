"""Features of audio files on disk: one file per utterance, (layers, T, D) float32.

The folder structure of the audio is kept (``a/b.wav`` -> ``OUT/a/b.npy``), what is there already is
not computed again, and ``OUT/features.json`` says what the files are.
"""

import json
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lhotse.cut import Cut
from safetensors.torch import save_file

from mt4ssl_core.audio import (
    MIN_SAMPLES,
    SAMPLE_RATE,
    SUFFIXES,
    audio_name,
    load_wave,
    normalize,
    num_samples,
    probe,
)
from mt4ssl_core.convert import load_encoder
from mt4ssl_core.distributed import choose_device
from mt4ssl_core.encoder import Encoder
from mt4ssl_core.files import atomic_path, write_json
from mt4ssl_core.fingerprints import encoder_fingerprint
from mt4ssl_core.frame_features import AudioBar
from mt4ssl_core.manifest import open_manifest

FORMATS = ("npy", "safetensors")
KEY = "hidden_states"  # of the tensor in a safetensors file


@dataclass(frozen=True)
class Item:
    """One utterance to be done: its audio, its length in samples at 16 kHz, the file to write."""

    source: Path | Cut
    samples: int
    target: Path


def extract(
    checkpoint: str | Path,
    audio: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    layers: str | Sequence[int] = "all",
    format: str = "npy",
    device: str = "cpu",
    batch_seconds: float = 60.0,
    strict: bool = False,
) -> int:
    """Write hidden states (layers, T, D) of every utterance, 50 frames per second; return how many.

    checkpoint: anything `mt4ssl_core.convert.load_any` reads. audio: files, folders, fairseq .tsv,
    CutSets or Shar folders. layers: "all", or numbers as Hugging Face counts them: 0 is the input
    of the first layer, cfg.layers the output. batch_seconds: audio that is encoded at once, padding
    included; an encoder with ``isolate_padding: false`` gets one utterance at a time, since others
    in a batch would change its features. Files that exist are left as they are. Unreadable audio is
    named and skipped.

    Raises:
        ValueError: nothing to read, an unknown layer or format, two utterances for one file,
            a folder with features of another kind, and with ``strict`` the first unreadable file.
    """
    if format not in FORMATS:
        raise ValueError(f"format {format!r}: unknown; use {' or '.join(FORMATS)}")
    encoder = load_encoder(checkpoint).to(choose_device(device))
    chosen = _chosen(layers, encoder.cfg.layers, checkpoint)
    out = Path(out)
    sources = [audio] if isinstance(audio, str | Path) else list(audio)
    items, skipped = _items(sources, out, format, strict)
    kind = {"sha256": encoder_fingerprint(encoder), "layers": chosen, "format": format}
    _describe(out, kind, checkpoint)
    wanted = [item for item in items if not item.target.exists()]
    hours = sum(item.samples for item in wanted) / SAMPLE_RATE / 3600
    bar = AudioBar("extract", hours, skipped, show=True)
    if len(wanted) < len(items):
        bar.say(f"{len(items) - len(wanted)} of {len(items)} files exist already")
    most = int(batch_seconds * SAMPLE_RATE) if encoder.cfg.isolate_padding else 0
    written = 0
    try:
        for batch, waves in _read_ahead(_batches(wanted, most), strict, bar):
            for item, features in zip(batch, _encode(encoder, waves, chosen), strict=True):
                _write(item.target, features, format)
                bar.advance(item.samples / SAMPLE_RATE)
            written += len(batch)
    finally:
        bar.close()
    return written


def _chosen(layers: str | Sequence[int], last: int, checkpoint: str | Path) -> list[int]:
    """The wanted layers, checked against those there are."""
    if layers == "all":
        return list(range(last + 1))
    wrong = [layer for layer in layers if layer not in range(last + 1)]
    if wrong or not layers:
        raise ValueError(
            f"layers {layers}: {checkpoint} has layers 0 to {last}; choose among these, or all"
        )
    return [int(layer) for layer in layers]


def _items(
    sources: Sequence[str | Path], out: Path, format: str, strict: bool
) -> tuple[list[Item], list[tuple[str, str]]]:
    """What there is to do, and (path, reason) of what cannot be."""
    found: dict[Path, Item] = {}
    skipped: list[tuple[str, str]] = []
    for source in map(Path, sources):
        if source.is_dir() or source.suffix.lower() not in SUFFIXES:
            manifest = open_manifest(source, min_seconds=MIN_SAMPLES / SAMPLE_RATE, strict=strict)
            skipped += manifest.skipped
            entries = [(cut.id, cut, num_samples(cut)) for cut in manifest.cuts]
        else:
            entries = _single(source, strict, skipped)
        for name, audio, samples in entries:
            target = _target(out, name, format)
            if target in found:
                raise ValueError(
                    f"{audio_name(audio)} and {audio_name(found[target].source)}: both would be "
                    f"written to {target}; extract them to two folders"
                )
            found[target] = Item(audio, samples, target)
    if not found:
        first = f", first {skipped[0][0]}: {skipped[0][1]}" if skipped else ""
        raise ValueError(f"no usable audio ({len(skipped)} skipped{first}); give other files")
    return list(found.values()), skipped


def _single(
    path: Path, strict: bool, skipped: list[tuple[str, str]]
) -> list[tuple[str, Path | Cut, int]]:
    """The entry of one audio file; none, and a line in ``skipped``, when it cannot be read."""
    try:
        rate, _, frames = probe(path)
    except ValueError as error:
        if strict or not path.exists():
            raise
        skipped.append((str(path), str(error).removeprefix(f"{path}: ")))
        return []
    return [(path.name, path, round(frames * SAMPLE_RATE / rate))]


def _target(out: Path, name: str, format: str) -> Path:
    """Where the features of an utterance go; never outside ``out``."""
    stem = name[: -len(Path(name).suffix)] if Path(name).suffix.lower() in SUFFIXES else name
    target = out / f"{stem}.{format}"
    if not target.resolve().is_relative_to(out.resolve()):
        raise ValueError(f"{name}: its features would be written outside {out}; rename it")
    return target


def _describe(out: Path, kind: dict[str, Any], checkpoint: str | Path) -> None:
    """Write ``features.json``, or check that the one there says the same."""
    path = out / "features.json"
    if path.is_file():
        try:
            there = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            there = {}
        differing = [
            key for key in kind if not isinstance(there, dict) or there.get(key) != kind[key]
        ]
        if differing:
            raise ValueError(
                f"{path}: features with another {', '.join(differing)} are there; give a new folder"
            )
        return
    about = {"checkpoint": str(checkpoint), "frames_per_second": 50, "shape": "(layers, T, D)"}
    write_json(path, kind | about)


def _batches(items: list[Item], most: int) -> Iterator[list[Item]]:
    """Utterances of similar length, at most ``most`` samples with padding; longer ones alone."""
    batch: list[Item] = []
    for item in sorted(items, key=lambda item: -item.samples):
        if batch and batch[0].samples * (len(batch) + 1) > most:
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch


Loaded = tuple[list[Item], list[np.ndarray], list[str]]  # what is wrong with the others


def _read_ahead(
    batches: Iterator[list[Item]], strict: bool, bar: AudioBar
) -> Iterator[tuple[list[Item], list[np.ndarray]]]:
    """Read the next batch while the last one is encoded; unreadable audio is named and left out."""

    def load(batch: list[Item]) -> Loaded:
        good, waves, problems = [], [], []
        for item in batch:
            try:
                wave = load_wave(item.source)
                if len(wave) < MIN_SAMPLES:
                    raise ValueError(f"{audio_name(item.source)}: shorter than one frame (25 ms)")
            except ValueError as error:
                if strict:
                    raise
                problems.append(str(error))
                continue
            good.append(item)
            waves.append(wave)
        return good, waves, problems

    pending: deque[Future[Loaded]] = deque()
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


def _named(loaded: Loaded, bar: AudioBar) -> Iterator[tuple[list[Item], list[np.ndarray]]]:
    items, waves, problems = loaded
    for problem in problems:
        name, _, reason = problem.partition(": ")
        bar.skip(name, reason)
    if items:
        yield items, waves


@torch.inference_mode()
def _encode(encoder: Encoder, waves: list[np.ndarray], layers: list[int]) -> Iterator[torch.Tensor]:
    """Features (layers, T, D) of each waveform, on the CPU."""
    device = encoder.mask_embedding.device
    lengths = torch.tensor([len(wave) for wave in waves])
    x = torch.zeros(len(waves), int(lengths.max()))  # (B, N)
    cfg = encoder.cfg
    for row, wave in zip(x, waves, strict=True):
        wave = normalize(wave, cfg.normalize_eps) if cfg.normalize else wave
        row[: len(wave)] = torch.from_numpy(wave)
    encoded = encoder(x.to(device), lengths.to(device))
    states = torch.stack([encoded.hidden_states[i] for i in layers], 1).cpu()  # (B, layers, T, D)
    for features, frames in zip(states, encoded.lengths.tolist(), strict=True):
        yield features[:, :frames]


def _write(target: Path, features: torch.Tensor, format: str) -> None:
    with atomic_path(target) as temporary:
        if format == "npy":
            with open(temporary, "wb") as file:
                np.save(file, features.numpy())
        else:
            save_file({KEY: features.contiguous()}, temporary)
