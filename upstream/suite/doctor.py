"""What a suite will need, before a week is spent: packages, corpora, time, disk."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mt4ssl_core.command_line import aligned
from upstream.door import hub, packages, tasks
from upstream.store.decision import Stored, decide
from upstream.store.options import StoreOptions
from upstream.suite import preparation, protocol, roots
from upstream.suite.upstream_trial import Probe, try_upstream

SMOKE = (
    "to see that all of it works, a few steps of each task take minutes: mt4ssl superb run "
    "--smoke (of all 15 tasks, with a small model on two CPU cores, 3 minutes)"
)
BACKWARD = 1.3  # a step's time over that of encoding its audio: the head's share, and loading
FRAME = 0.01  # seconds; batches that are limited in frames count these
_EVERY_FRAME = StoreOptions("frames")
_BATCH = ("train_batch_size", "train_batchsize", "batch_size", "batchsize")


@dataclass(frozen=True)
class Finding:
    """What there is to say about a task."""

    task: str
    packages: list[str]  # that are missing
    extra: str
    corpus: str  # mini, real, partial or missing
    problems: list[str]
    hours: float | None  # to train with one learning rate
    rates: int
    gigabytes: float | None  # of the corpus
    stored: float | None = None  # gigabytes of the upstream's features in the store


def stack() -> tuple[str, list[str]]:
    """Return the versions of what every task needs, and what is wrong with them."""
    from upstream.compat import torchaudio_pair  # seconds

    told = {name: packages.version_of(name) for name in ("torch", "torchaudio")}
    problems = []
    try:
        told["s3prl"] = packages.s3prl()
    except ValueError as error:
        problems.append(str(error))
    try:
        torchaudio_pair.install()
    except ValueError as error:
        problems.append(str(error))
    return ", ".join(f"{name} {of}" for name, of in told.items() if of), problems


def examine(
    given: str, asked: str = roots.ALL, found: Probe | None = None, allow_partial: bool = False
) -> list[Finding]:
    """Look at every task; nothing is made or changed.

    Raises:
        ValueError: the roots file is not readable, or a task is unknown.
    """
    roots.read(given, [])  # is it readable at all
    return [_task(given, name, found, allow_partial) for name in roots.pick(asked)]


def _task(given: str, name: str, found: Probe | None, allow_partial: bool) -> Finding:
    config = tasks.read(tasks.path_of(name))
    header = config["superb"]
    kind, counts, audio = "missing", {}, None
    problems: list[str] = []
    try:
        folder = roots.read(given, [name])[name]
        corpus, problems = preparation.survey(name, folder, allow_partial)
        kind, counts, audio = corpus["kind"], corpus["counts"], corpus["hours"]
        if problems and not any(counts.values()):
            kind = "missing"
    except ValueError as error:
        problems = [" ".join(str(error).split())]
    layers = found.layers if found else 1
    rate = (config.get("optimizer") or {}).get("lr")
    tried = protocol.candidates(header, rate, layers)
    runs = len(tried) * len(protocol.variants(header))
    seconds = found.seconds if found else None
    if not audio or not any(counts.values()):  # not surveyed: as published
        audio, counts = header["corpus"].get("hours"), header["corpus"].get("counts") or {}
    return Finding(
        task=name,
        packages=tasks.missing_packages(header),
        extra=header.get("extra", "superb"),
        corpus=kind,
        problems=problems,
        hours=_hours(config, counts, audio, seconds),
        rates=runs,
        gigabytes=header["corpus"].get("gigabytes"),
        stored=_stored(header, counts, audio, found) if found else None,
    )


def _stored(
    header: Mapping[str, Any], counts: Mapping[str, int], audio: float | None, found: Probe
) -> float | None:
    """Estimate the gigabytes of a task's features; None when they are never stored, or unknown."""
    stored = decide(_EVERY_FRAME, header)
    if not isinstance(stored, Stored) or not audio:
        return None
    frame = found.layers * found.dim
    if stored.pooled:
        return sum(counts.values()) * frame * 4 / 1e9  # fp32
    return audio * 3600 * found.frames * frame * 2 / 1e9  # fp16


def _hours(
    config: Mapping[str, Any],
    counts: Mapping[str, int],
    audio: float | None,
    seconds: float | None,
) -> float | None:
    """Estimate the hours of one training; None when something for it is not known."""
    header = config["superb"]
    if seconds is None or not audio or not any(counts.values()):
        return None
    if header.get("select") == protocol.LAYER:
        return float(audio) * seconds
    batch = _batch_hours(config["downstream_expert"], audio / sum(counts.values()))
    if batch is None:
        return None
    steps = config["runner"]["total_steps"] * config["runner"].get("gradient_accumulate_steps", 1)
    return float(steps * batch * seconds * BACKWARD)


def _batch_hours(section: Mapping[str, Any], mean: float) -> float | None:
    """Return the hours of audio in a training batch of utterances of ``mean`` hours."""
    named = [(key.split(".")[-1], n) for key, n in tasks.overrides.flatten(dict(section))]
    for name in _BATCH:
        for key, value in named:
            if key == name and isinstance(value, int):
                return value * mean
    frames = [value for key, value in named if key == "max_tokens"]
    return frames[0] * FRAME / 3600 if frames else None


def diagnosis(findings: list[Finding], place: Path) -> str:
    """Return the table, what is missing, and what all of it takes."""
    rows = [["task", "packages", "corpus", "runs", "hours/run", "hours", "corpus GB", "store GB"]]
    for finding in findings:
        hours = finding.hours
        rows.append(
            [
                finding.task,
                ", ".join(finding.packages) + " missing" if finding.packages else "ok",
                finding.corpus + (f", {len(finding.problems)} problem(s)" * bool(finding.problems)),
                str(finding.rates),
                "?" if hours is None else f"{hours:.1f}",
                "?" if hours is None else f"{hours * finding.rates:.1f}",
                "?" if finding.gigabytes is None else f"{finding.gigabytes:g}",
                "" if finding.stored is None else f"{finding.stored:.2g}",
            ]
        )
    lines = [aligned(rows), ""]
    extras = dict.fromkeys(f.extra for f in findings if f.packages)
    if extras:
        lines.append(f'to install: pip install "mt4ssl[{",".join(extras)}]"')
    lines += [f"{f.task}: {problem}" for f in findings for problem in f.problems]
    known = [f.hours * f.rates for f in findings if f.hours is not None]
    if known:
        lines.append(
            "hours: of SUPERB's full schedules, estimated from a timing of the upstream on this "
            f"device, {sum(known):.0f} in all ({len(known)} of {len(findings)} tasks); several "
            "GPUs share them"
        )
    else:
        lines.append("hours: of SUPERB's full schedules; give a checkpoint to have them estimated")
    lines.append(SMOKE)
    if any(finding.stored is not None for finding in findings):
        lines.append(
            "store: the upstream's features, computed once: of ks, ic, sid and er by default, of "
            "the others with --store frames (fp16); hours are without it"
        )
    free = shutil.disk_usage(place).free / 1e9
    lines.append(f"disk: {free:.0f} GB free at {place}")
    return "\n".join(lines)


def doctor(
    given: str,
    ckpt: str | None = None,
    upstream: str | None = None,
    asked: str = roots.ALL,
    device: str = "auto",
    allow_partial: bool = False,
) -> int:
    """Print what is there and what it takes; returns 1 when something is missing.

    Raises:
        ValueError: the checkpoint is none of an encoder, or the roots file is not readable.
    """
    from mt4ssl_core.distributed import choose_device

    upstream, ckpt = hub.named(upstream, ckpt)
    versions, broken = stack()
    print("\n".join([versions, *broken, ""]))
    found = None
    if (ckpt or upstream) and not broken:
        where = str(choose_device(device))
        found = try_upstream(upstream or "mt4ssl", ckpt, where, timed=True)
        print(
            f"{upstream or 'mt4ssl'}: {found.layers} hidden states of {found.dim}, "
            f"{1 / (found.seconds or 1):.0f} times faster than the audio on {where}\n"
        )
    findings = examine(given, asked, found, allow_partial)
    place = Path(given).absolute()
    print(diagnosis(findings, place if place.is_dir() else place.parent))
    return 1 if broken or any(finding.packages or finding.problems for finding in findings) else 0
