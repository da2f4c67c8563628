"""What each item of a test came to, from the files that the experts of the tasks leave behind.

An item is an utterance; a recording in diarization, a query in query by example, a pair of
recordings in verification.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mt4ssl_core.files import read_json, reading
from upstream.corpora.qbe import ground_truth, truth_folder
from upstream.corpora.texts import read_rows, read_text
from upstream.door import tasks
from upstream.scores import qbe, sd, slots

AGAIN = "test again with `mt4ssl superb run`, or leave the task out with --tasks"
_LABELS = {
    "ks": "test_predict.txt",
    "sid": "test_predict.txt",
    "ic": "test_predict.csv",
    "er": "test_{variant}_predict.txt",
}
_TEXTS = {"test": "test-hyp.ark", "noLM": "test-clean-noLM-hyp.ark", "lm": "test-clean-LM-hyp.ark"}
_CORPORA = {  # the setting with the folder of what is true, where it is not in the experiment's
    "sd": "downstream_expert.loaderrc.test_dir",
    "qbe": "downstream_expert.datarc.dataset_root",
}
_TRIAL = re.compile(r"(id\d+)-.{11}-\d+_(id\d+)-.{11}-\d+")  # VoxCeleb: SPEAKER-VIDEO-NUMBER
_SPEAKER = {  # where the name of an utterance says who speaks
    "ks": re.compile(r"[^-]+-(.+)_nohash_\d+(?:\.wav)?"),
    "sid": re.compile(r"(id\d+)-.*"),
    "er": re.compile(r"(Ses\d\d)[FM]_.*_([FM])\d+"),
    "pr": re.compile(r"(\d+)-\d+-\d+"),
    "asr": re.compile(r"(\d+)-\d+-\d+"),
    "sf": re.compile(r"([A-Za-z]+)-snips-.*"),
}


@dataclass(frozen=True)
class Items:
    """The items of a test, N in the order of their names, no two alike.

    The score is ``sum(values) / sum(sizes)``, both (N,). Where there are no ``sizes`` these are
    trials, ``values`` is what the system gave them, and the score is the equal error rate.
    ``truth`` is what tells one test set from another; of trials, 1 for one speaker, else 0.
    """

    names: list[str]
    truth: list[str]
    values: np.ndarray
    sizes: np.ndarray | None


def known() -> list[str]:
    """Return the tasks whose items can be read."""
    return [*_READERS]


def read(task: str, metric: str, stage: str, expdir: Path, config: Mapping[str, Any]) -> Items:
    """Return the items of a test.

    Args:
        task: its code, one of `known`.
        metric: of the task.
        stage: the evaluation that gave it.
        expdir: the experiment's folder.
        config: its settings, as results.json has them.

    Raises:
        ValueError: a file or setting is missing, damaged, or does not fit another; names it, or
            the folder.
    """
    with reading(expdir, AGAIN):  # config and files are as others left them
        corpora = [Path(tasks.get(dict(config), _CORPORA[task]))] if task in _CORPORA else []
    with reading(expdir, AGAIN, *corpora):
        found = _READERS[task](expdir, config, metric, stage)
    order = sorted(range(len(found.names)), key=found.names.__getitem__)
    return Items(
        [found.names[at] for at in order],
        [found.truth[at] for at in order],
        found.values[order],
        None if found.sizes is None else found.sizes[order],
    )


def speakers(
    task: str, names: Sequence[str], config: Mapping[str, Any]
) -> list[tuple[str, ...]] | None:
    """Return who speaks in each item (two in a trial); None where nothing says so.

    An item whose name is unlike the others (noise, silence) counts as a speaker of its own.
    """
    if task == "ic":
        return _intent_speakers(names, config)
    if task == "asv":
        pairs = [_TRIAL.fullmatch(re.sub(r"#\d+$", "", name)) for name in names]
        return [pair.groups() if pair else (name,) for pair, name in zip(pairs, names, strict=True)]
    if task not in _SPEAKER:
        return None
    matches = [_SPEAKER[task].fullmatch(name) for name in names]
    if not any(matches):
        return None
    return [
        ("".join(match.groups()),) if match else (name,)
        for match, name in zip(matches, names, strict=True)
    ]


def _intent_speakers(
    names: Sequence[str], config: Mapping[str, Any]
) -> list[tuple[str, ...]] | None:
    base = str(config.get("downstream_expert", {}).get("datarc", {}).get("file_path"))
    table = Path(base) / "data" / "test_data.csv"
    rows = read_rows(table) if table.is_file() else []
    said = {Path(row.get("path") or "").stem: row.get("speakerId") for row in rows}
    found = [said.get(name) for name in names]
    return [(speaker,) for speaker in found if speaker] if all(found) else None


def _lines(path: Path, separator: str = " ") -> dict[str, str]:
    """Return what stands behind the first word of each line; a name that comes twice gets #2."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file; {AGAIN}")
    found, seen = {}, Counter[str]()
    for line in read_text(path, AGAIN).split("\n"):
        if line.strip():
            name, _, rest = line.partition(separator)
            seen[name] += 1
            found[f"{name}#{seen[name]}" if seen[name] > 1 else name] = rest
    if not found:
        raise ValueError(f"{path}: nothing in it; {AGAIN}")
    return found


def _pair(
    predicted: Path, true: Path, separator: str = " "
) -> tuple[list[str], list[str], list[str]]:
    """Return names, what was predicted and what is true."""
    said, meant = _lines(predicted, separator), _lines(true, separator)
    if said.keys() != meant.keys():
        odd = min(said.keys() ^ meant.keys())
        raise ValueError(f"{predicted} and {true}: {odd} is only in one of them; {AGAIN}")
    return [*said], [*said.values()], [meant[name] for name in said]


def _labels(task: str) -> Callable[..., Items]:
    def read_labels(expdir: Path, config: Mapping[str, Any], metric: str, stage: str) -> Items:
        variant = config["downstream_expert"]["datarc"].get("test_fold")
        file = _LABELS[task].format(variant=variant)
        separator = "," if file.endswith(".csv") else " "
        path = expdir / file
        names, said, meant = _pair(path, expdir / file.replace("predict", "truth"), separator)
        right = np.array([a == b for a, b in zip(said, meant, strict=True)], float)
        return Items(names, meant, right, np.ones(len(names)))

    return read_labels


def _texts(expdir: Path, config: Mapping[str, Any], metric: str, stage: str) -> Items:
    plain = expdir / _TEXTS["noLM"]
    file = plain if stage == "test" and plain.exists() else expdir / _TEXTS[stage]
    names, said, meant = _pair(file, file.with_name(file.name.replace("-hyp", "-ref")))
    count = {
        "slot_type_f1": slots.type_f1,
        "slot_value_cer": slots.value_errors,
        "cer": slots.letter_errors,
    }.get(metric, slots.word_errors)
    counts = [count(a, b) for a, b in zip(said, meant, strict=True)]
    parts, sizes = np.array(counts, float).T
    return Items(names, meant, parts, sizes)


def _trials(expdir: Path, config: Mapping[str, Any], metric: str, stage: str) -> Items:
    path = expdir / "test_predict.txt"
    names, said, meant = _pair(path, expdir / "test_truth.txt")
    try:
        scores = np.array([float(value) for value in said])
    except ValueError as error:
        raise ValueError(f"{path}: {error}; {AGAIN}") from error
    if not np.isfinite(scores).all() or not {"0", "1"} >= set(meant):
        raise ValueError(f"{path}: expected finite scores, and 0 or 1 in test_truth.txt; {AGAIN}")
    return Items(names, meant, scores, None)


def _recordings(expdir: Path, config: Mapping[str, Any], metric: str, stage: str) -> Items:
    if metric != "der":
        raise ValueError(f"{metric}: not kept for single recordings; leave it out")
    best = read_json(expdir / "scoring" / sd.GRID, remedy=AGAIN)[0]
    found = sd.errors_of(expdir, dict(config), best["threshold"], best["median"])
    parts, sizes = np.array([(each.wrong, each.scored) for each in found.values()]).T
    return Items([*found], [f"{size:.2f}" for size in sizes], parts, sizes)


def _queries(expdir: Path, config: Mapping[str, Any], metric: str, stage: str) -> Items:
    root = Path(config["downstream_expert"]["datarc"]["dataset_root"])
    truth, documents = ground_truth(truth_folder(root, "test"))
    found = qbe.detections(expdir / qbe.FOUND)
    worth = qbe.values_of_queries(found, truth, documents, metric)
    gains = np.array([worth[query] for query in truth])
    return Items([*truth], [" ".join(sorted(truth[q])) for q in truth], gains, np.ones(len(truth)))


_READERS: dict[str, Callable[..., Items]] = {
    **{task: _labels(task) for task in _LABELS},
    **dict.fromkeys(("pr", "asr", "sf", "ood"), _texts),
    "asv": _trials,
    "sd": _recordings,
    "qbe": _queries,
}
