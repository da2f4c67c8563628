"""The tests of a run, and whether those of two runs are of one corpus and one protocol."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis.comparing.resampling import Outcome
from analysis.records import head_files, score, score_files
from analysis.records.score import Setting
from upstream.door import overrides, tasks
from upstream.heads import results
from upstream.scores import items
from upstream.suite import roots

_CHOSEN = "optimizer.lr"  # on dev, so that it may differ
_FREE = (".num_workers", ".frame_shift")  # of the machine, and of the encoder
_EXACT = 2e-6  # of a score that is computed again


@dataclass(frozen=True)
class Test:
    """One head's test: of a seed, and of a fold where a task has several."""

    seed: int
    fold: str
    folder: Path
    config: Mapping[str, Any]


@dataclass(frozen=True)
class System:
    """What was tested of one model: by task, and the setting of that."""

    name: str
    folder: Path
    tests: Mapping[str, Sequence[Test]]
    settings: Mapping[str, Setting]


def read(run: str | Path, called: str | None = None) -> System:
    """Return the tests of a run.

    Args:
        run: what ``--out`` of `mt4ssl superb run` was, or a folder with experiments of one model.
        called: the model's name; None: as in the leaderboard.

    Raises:
        ValueError: as of `head_files.tested`; several models, or a head that was tested twice.
    """
    folder = Path(run)
    found: dict[str, list[Test]] = {}
    for place, record in head_files.tested(folder):
        test = _test(place, record)
        same = found.setdefault(record["task"], [])
        for other in same:
            if (other.seed, other.fold) == (test.seed, test.fold):
                raise ValueError(
                    f"{other.folder} and {place}: two tests of {record['task']} with seed "
                    f"{test.seed}; give a folder with one of them"
                )
        same.append(test)
    entries = [*score_files.entries_of(folder)]
    models = {score_files.model_of(record, source)[2] for record, _, source in entries}
    if len(models) > 1:
        raise ValueError(
            f"{folder}: holds tests of {', '.join(sorted(models))}; give a folder with one model"
        )
    settings = {record["task"]: setting for record, setting, _ in reversed(entries)}
    return System(called or score_files.run_name(folder), folder, found, settings)


def _test(place: Path, record: Mapping[str, Any]) -> Test:
    config, seed = record.get("config"), record.get("seed")
    if not isinstance(config, dict) or type(seed) is not int:
        raise ValueError(
            f"{place / results.RESULTS}: does not say its config and seed; {items.AGAIN}"
        )
    variants = tasks.header(record["task"]).get("variants")
    fold = str(dict(overrides.flatten(config)).get(variants["key"])) if variants else ""
    return Test(seed, fold, place, config)


def pick(first: System, second: System, asked: str) -> tuple[list[str], list[str]]:
    """Return the tasks to compare, and a line on each that is left out.

    Raises:
        ValueError: a task that is asked for cannot be compared, or there is none.
    """
    told = asked != roots.ALL
    names = roots.pick(asked) if told else roots.in_order({*first.tests, *second.tests})
    kept, lines = [], []
    for name in names:
        lacking = [str(s.folder) for s in (first, second) if name not in s.tests]
        if name not in items.known():
            lines.append(f"{name}: nothing is kept of its single utterances")
        elif lacking:
            lines.append(f"{name}: no results in {' and '.join(lacking)}")
        else:
            kept.append(name)
    if (told and lines) or not kept:
        raise ValueError(
            "\n  ".join(["not to be compared:", *lines])
            + "\n  run these for both with `mt4ssl superb run`, or leave them out with --tasks"
        )
    return kept, [f"left out: {line}" for line in lines]


def check(first: System, second: System, names: Sequence[str], force: bool) -> list[str]:
    """Refuse tests that say nothing of two systems; returns what of it was forced.

    Raises:
        ValueError: smoke runs, unless forced; other corpora, protocols or folds; all at once.
    """
    smoke = [
        f"{system.folder}: {name} is a smoke run, of a few steps; run it in full, or --force"
        for name in names
        for system in (first, second)
        if system.settings[name].state == score.SMOKE
    ]
    problems = [*([] if force else smoke)]
    for name in names:
        problems += _differences(name, first, second)
    if problems:
        raise ValueError(
            "\n  ".join(["these are no tests of two systems:", *problems])
            + "\n  score both with the same command and corpora, or leave tasks out with --tasks"
        )
    return ["smoke runs: these say nothing of the systems"] if smoke else []


def _differences(name: str, first: System, second: System) -> list[str]:
    found = []
    one, other = (system.settings[name] for system in (first, second))
    ours, theirs = ((s.corpus, s.corpus_id) for s in (one, other))
    if ours != theirs:
        what = " and ".join(f"{kind} ({found or 'not known'})" for kind, found in (ours, theirs))
        found.append(f"{name}: other corpora: {what}")
    features = [[r for r in s.remarks if r != results.NOT_LEARNED] for s in (one, other)]
    if features[0] != features[1]:
        shown = " and ".join(", ".join(remarks) or "as they are" for remarks in features)
        found.append(f"{name}: other features: {shown}")
    mine, beside = (_protocol(name, system.tests[name][0]) for system in (first, second))
    keys = [key for key in {**mine, **beside} if mine.get(key) != beside.get(key)]
    if keys:
        shown = ", ".join(f"{k} {mine.get(k)} and {beside.get(k)}" for k in keys[:3])
        found.append(f"{name}: other protocols: {shown}")
    folds, others = ({test.fold for test in system.tests[name]} for system in (first, second))
    if folds != others:
        found.append(f"{name}: other folds: {', '.join(sorted(folds ^ others))} in one of them")
    return found


def _protocol(task: str, test: Test) -> dict[str, Any]:
    """Return the settings that must not differ: all but the rate, the fold and the paths."""
    header = tasks.header(task)
    free = {_CHOSEN, *header["root_keys"], (header.get("variants") or {}).get("key")}
    return {
        key: value
        for key, value in overrides.flatten(dict(test.config))
        if not isinstance(value, dict) and key not in free and not key.endswith(_FREE)
    }


@dataclass(frozen=True)
class Read:
    """The items of a test by all seeds, with the names, the truth and the fold of each, N."""

    outcome: Outcome
    names: list[str]
    truth: list[str]
    folds: list[str]
    speakers: list[tuple[str, ...]] | None


def outcome(system: System, task: str, metric: Mapping[str, Any]) -> Read | None:
    """Return what a system did with the items of a test; None where the test has no such metric.

    Raises:
        ValueError: a file is missing or damaged, gives another score than the record says, or
            seeds were tested on other items.
    """
    by_seed: dict[int, list[tuple[Test, items.Items]]] = {}
    for test in sorted(system.tests[task], key=lambda test: (test.seed, test.fold)):
        found = _items(task, metric, test)
        if found is None:
            return None
        by_seed.setdefault(test.seed, []).append((test, found))
    joined = [_joined(found) for found in by_seed.values()]
    names, truth, folds, _, sizes = joined[0]
    for (*same, _, _), seed in zip(joined, by_seed, strict=True):
        if same != [names, truth, folds]:
            raise ValueError(
                f"{system.folder}: {task}: seed {seed} was tested on other items than "
                f"{next(iter(by_seed))}; {items.AGAIN}"
            )
    numbers = {name: at for at, name in enumerate(sorted(set(folds)))}
    made = Outcome(
        np.stack([values for *_, values, _ in joined]),
        None if sizes is None else np.stack([each for *_, each in joined]),
        np.array([numbers[fold] for fold in folds]),
        np.array([each == "1" for each in truth]),
    )
    said = items.speakers(task, names, system.tests[task][0].config)
    return Read(made, names, truth, folds, said)


def _joined(tests: Sequence[tuple[Test, items.Items]]) -> tuple[Any, ...]:
    """Return names, truth, folds, values and sizes of all folds, one after the other."""
    names = [name for _, found in tests for name in found.names]
    truth = [each for _, found in tests for each in found.truth]
    folds = [test.fold for test, found in tests for _ in found.names]
    values = np.concatenate([found.values for _, found in tests])
    sizes = [found.sizes for _, found in tests if found.sizes is not None]
    return names, truth, folds, values, np.concatenate(sizes) if sizes else None


def _items(task: str, metric: Mapping[str, Any], test: Test) -> items.Items | None:
    name, stage = metric["name"], tasks.stage_of(dict(metric))
    records = [
        record
        for record in results.read(test.folder)
        if (record["task"], record["metric"], record["stage"]) == (task, name, stage)
        and not record["split"].startswith("dev")
    ]
    if not records:
        return None
    found = items.read(task, name, stage, test.folder, test.config)
    again = Outcome(
        found.values[None],
        None if found.sizes is None else found.sizes[None],
        np.zeros(len(found.names), int),
        np.array([each == "1" for each in found.truth]),
    ).score(np.ones((1, len(found.names))))[0, 0]
    said = records[0]["value"]
    scale = 0.01 if records[0].get("unit") == "percent" else 1.0
    if said is None or not abs(said * scale - again) <= _EXACT:
        raise ValueError(
            f"{test.folder}: {name} of its files is {again:.6g}, its {results.RESULTS} says "
            f"{said}: they are of another test; {items.AGAIN}"
        )
    return found
