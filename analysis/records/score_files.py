"""Scores from the folders and files that hold them.

A folder is that of a suite (``mt4ssl superb run``: results.jsonl), or one with s3prl experiments in
it (results.json). What a corpus is, a suite has surveyed; an experiment says only where it lay, so
all that can be known of it later is whether it is one of mini_superb.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis.records import model_names
from analysis.records import score as results
from analysis.records.attempts import Attempts
from analysis.records.model_names import Model, Names
from analysis.records.score import AGAIN, MINI, PARTIAL, REAL, Score, Setting
from analysis.records.training_runs import SEED
from mt4ssl_core.files import read_json, reading
from upstream import corpora
from upstream.door import tasks
from upstream.heads import results as experiments
from upstream.heads.results import remarks
from upstream.suite import recipe, run_folder

EXPERIMENT, SUPERB = "results.json", "superb"  # a file, and a folder of a run
PUBLISHED = Path(__file__).parent.parent / "scores" / "published.json"
Entry = tuple[dict[str, Any], Setting, str]  # a record, its setting, its file with line or place
_COUNT = int | float | None
_FINISH = "finish it with `mt4ssl superb run`, or leave it out"


@dataclass(frozen=True)
class Size:
    """Parameters, and multiply-accumulates of 32 utterances of LibriSpeech test-clean."""

    params: float | None = None
    macs: float | None = None


@dataclass(frozen=True)
class ModelScores:
    """Scores; how large their models are, and what upstream each is, where it is known."""

    scores: list[Score]
    sizes: dict[str, Size]
    upstreams: dict[str, str] = field(default_factory=dict)


def published(path: str | Path = PUBLISHED) -> ModelScores:
    """Return the published scores."""
    with reading(path, "install mt4ssl again"):
        return _published(path, read_json(path))


def _published(path: str | Path, content: Any) -> ModelScores:
    scores, sizes = [], {}
    for model in content["models"]:
        sizes[model["name"]] = Size(model["params"], model["macs"])
        source = content["sources"][model["source"]]
        for name, value in model["scores"].items():
            task, _, rest = name.partition("/")
            metric, _, stage = rest.partition("@")
            unit, setting = content["units"][name], Setting(stage=stage or tasks.TEST)
            text = source["text"] + (" (at second hand)" if source["read"] != "primary" else "")
            direction = results.metric_of(task, metric, setting.stage, str(path))["direction"]
            one = Score(model["name"], task, metric, value, unit, direction, setting, text)
            scores.append(one)
    results.check(scores)
    return ModelScores(scores, sizes)


def run_name(folder: Path) -> str:
    """Return what a run is called: its folder's name, or GROUP/seed1; of RUN/superb that of RUN."""
    folder = folder.resolve()
    folder = folder.parent if folder.name.startswith(run_folder.HEADS) else folder
    run = folder.parent if folder.name == SUPERB else folder
    return f"{run.parent.name}/{run.name}" if SEED.fullmatch(run.name) else run.name


def read(
    folders: Sequence[str | Path],
    broken: list[str] | None = None,
    called: Sequence[str | None] = (),
) -> ModelScores:
    """Return the test scores in ``folders``; a model is called as its owner called its checkpoint.

    An encoder of the user's own (FILE.py:CLASS) is called as it calls itself; one whose path says
    nothing, or the same as that of another folder, after the folder it is first in. Folders of one
    checkpoint become one model. Its scores on real and on other corpora stay apart
    by their setting. ``broken`` gets a line on each folder that cannot be read, which is left out
    unless there is no other; None: the first one is refused. ``called``: names for the first
    folders; None: as above.

    Raises:
        ValueError: a folder without results, a record that is damaged or of an unknown task or
            metric, no finite number, mini_superb and other corpora in one folder, or a task that
            was scored twice; each names the file.
    """
    found, names = ModelScores([], {}), Names()
    titles = dict(zip(map(_resolved, folders), called, strict=False))
    usable = _usable(folders, broken)
    named = {_named(entries) for _, entries in usable}
    for folder, entries in usable:
        _, name = _named(entries)
        own = name if [other for _, other in named].count(name) == 1 else None
        _add(found, names, folder, entries, titles.get(folder) or own or run_name(folder))
    results.check(found.scores)
    return found


def _named(entries: Sequence[Entry]) -> tuple[Model | None, str | None]:
    """Return the one model of a folder, and what it calls itself or its owner called its file."""
    models = {model_of(record, source) for record, _, source in entries}
    if len(models) > 1:
        return None, None
    record, _, source = entries[0]
    says = _text(record, "name", source) or model_names.of_checkpoint(_path(record, source))
    [model] = models
    return model, model[-1] if says and not model_names.kind(model[0]) else None


def _add(found: ModelScores, names: Names, folder: Path, entries: list[Entry], called: str) -> None:
    """Add the scores of a folder, which is called so."""
    models = {model_of(record, source) for record, _, source in entries}
    labels = model_names.of_folder(models, called)
    kinds = set()
    for record, setting, source in entries:
        model = upstream, checkpoint, _ = model_of(record, source)
        name = names.give((upstream, checkpoint), setting, labels[model], folder)
        shown = f"{name} ({setting.heads} heads)" if setting.heads else name
        found.scores.append(_score(shown, (record, setting, source)))
        found.upstreams[shown] = upstream
        size = _size(record, source)
        found.sizes[shown] = size if size != Size() else found.sizes.get(shown, size)
        kinds.add(setting.corpus)
    if MINI in kinds and len(kinds) > 1:
        raise ValueError(
            f"{folder}: results of different corpora ({', '.join(sorted(kinds))}) in one folder; "
            "score them again into one folder for each"
        )


def _usable(
    folders: Iterable[str | Path], broken: list[str] | None
) -> list[tuple[Path, list[Entry]]]:
    """The folders with their records, each of which makes a score."""
    found: list[tuple[Path, list[Entry]]] = []
    attempts = Attempts(broken)
    for folder in dict.fromkeys(map(_resolved, folders)):
        with attempts.one(), reading(folder, AGAIN):
            entries = list(entries_of(folder))
            for entry in entries:
                model_of(*entry[::2])
                _score("", entry)
                _size(*entry[::2])
            found.append((folder, entries))
    attempts.close(found)
    return found


def _resolved(folder: str | Path) -> Path:
    return Path(folder).resolve()


def _score(name: str, entry: Entry) -> Score:
    record, setting, source = entry
    keys = ("task", "metric", "unit", "direction")
    task, metric, unit, direction = (_need(record, key, source, str) for key in keys)
    value = _need(record, "value", source)
    seeds = _need({"seeds": None, **record}, "seeds", source, dict | None) or {}
    deviation = _need({"deviation": None, **record}, "deviation", source, int | float | None)
    return Score(
        name, task, metric, value, unit, direction, setting, source, deviation, len(seeds) or 1
    )


def _size(record: Mapping[str, Any], source: str) -> Size:
    return Size(*[_need({k: None, **record}, k, source, _COUNT) for k in ("params", "macs")])


def model_of(record: Mapping[str, Any], source: str) -> Model:
    """Return upstream, checkpoint, and both in short."""
    upstream = str(record.get("upstream"))
    tuned = " fine-tuned" if record.get("upstream_trainable") else ""
    path = _path(record, source)
    own = _text(record, "name", source)  # what an encoder of the user's own calls itself
    label = (own or model_names.of_model(upstream, path)) + tuned
    return upstream + tuned, _text(record, "fingerprint", source) or path, label


def _path(record: Mapping[str, Any], source: str) -> str | None:
    """Return where the checkpoint was."""
    return _text(record, "ckpt", source) or _text(record, "upstream_ckpt", source)


def entries_of(folder: Path) -> Iterator[Entry]:
    """Yield every test record of a folder, its setting, and its file with line or place."""
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; give what `mt4ssl superb run` made with --out")
    suites, alone = places(folder)
    suites = sorted({path for s in suites for path in (s, *s.glob(f"{run_folder.HEADS}*"))})
    nothing = True
    for path in [suite / run_folder.RESULTS for suite in suites]:
        found = run_folder.read_results(path.parent)
        if not found:
            raise ValueError(f"{path.parent}: no results in {path.name} yet; {_FINISH}")
        for number, record in enumerate(found, 1):  # one line each, none is empty
            if tasks.is_own(record["task"]):
                continue
            nothing = False
            yield record, _surveyed(record, f"{path}:{number}"), f"{path}:{number}"
    for path in [experiment / EXPERIMENT for experiment in alone]:
        for place, record in _tested(path):
            nothing = False
            yield record, _unchecked(record, f"{path}[{place}]"), f"{path}[{place}]"
    if nothing and any(map(holds_own_only, (*suites, *alone))):
        raise ValueError(
            f"{folder}: holds tasks of one's own only, which stand in no table with SUPERB's; see "
            "them with `mt4ssl report`, and leave the folder out"
        )
    if nothing:
        raise ValueError(
            f"{folder}: neither {run_folder.RESULTS} nor a {EXPERIMENT} with a test score; score "
            "a checkpoint with `mt4ssl superb run`, or leave the folder out"
        )


def holds_own_only(folder: Path) -> bool:
    """Whether there are results of tasks of one's own in a suite or experiment, and no others."""
    suite = (folder / run_folder.RESULTS).is_file()
    found = run_folder.read_results(folder) if suite else experiments.read(folder)
    return bool(found) and all(tasks.is_own(record["task"]) for record in found)


def places(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the suites in a folder or below, and the s3prl experiments that are of none of them.

    Scores of single checkpoints (superb/update_N) belong to `mt4ssl convergence` and are left out;
    so are those of other heads, which lie in the suite.
    """
    marks = (run_folder.RESULTS, run_folder.SUITE)
    suites = {folder} if any((folder / mark).is_file() for mark in marks) else set[Path]()
    if not suites:
        below = [path.parent for mark in marks for path in folder.rglob(mark)]
        suites = {found for found in below if not _left_out(found, folder)}
    experiments = [
        path.parent
        for path in folder.rglob(EXPERIMENT)
        if not any(path.is_relative_to(suite) for suite in suites)
        and not _left_out(path.parent, folder)
    ]
    return sorted(suites), sorted(experiments)


def _left_out(folder: Path, run: Path) -> bool:
    of_checkpoint = any(part.startswith("update_") for part in folder.relative_to(run).parts)
    return of_checkpoint or run_folder.of_other_heads(folder)


def _tested(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the records of an experiment that are of a task's test split, with their places."""
    found = read_json(path, remedy="evaluate the experiment again")
    if not isinstance(found, list) or not all(isinstance(record, dict) for record in found):
        raise ValueError(f"{path}: expected a list of records; evaluate the experiment again")
    for place, record in enumerate(found):
        source = f"{path}[{place}]"
        keys = ("task", "stage", "split")
        task, stage, split = (_need(record, key, source, str) for key in keys)
        if tasks.is_own(task):
            continue
        results.metrics_of(task, source)  # is there such a task?
        splits = {each["name"]: each["split"] for each in tasks.all_stages(tasks.header(task))}
        if split == splits.get(stage, split):
            yield place, record


def _surveyed(record: Mapping[str, Any], source: str) -> Setting:
    """Return the setting of a suite's record."""
    corpus = _need(record, "corpus", source, dict)
    kind = corpus.get("kind")
    if kind not in (REAL, PARTIAL, MINI):
        expected = f"expected {REAL}, {PARTIAL} or {MINI}"
        raise ValueError(f"{source}: corpus.kind is {kind!r}, {expected}; {AGAIN}")
    store, protocol = _store(record, source), _text(record, "protocol", source) or ""
    if protocol not in ("", recipe.MINI):
        raise ValueError(f"{source}: protocol is {protocol!r}, expected {recipe.MINI}; {AGAIN}")
    crops = bool(store.get("crops")) and not protocol  # which has its own
    changed = bool(_need(record, "overrides", source)) or crops
    changed = changed or bool(record.get("feature_transform"))
    smoke = _need(record, "smoke", source)
    return Setting(
        stage=_need(record, "stage", source, str),
        corpus=kind,
        corpus_id=_text(corpus, "fingerprint", source),
        made=_made(corpus) if kind == MINI else None,
        state=results.SMOKE if smoke else results.CHANGED if changed else "",
        seed=record.get("seed"),
        remarks=_remarks(record, source),
        heads=_text(record, "heads", source) or "",
        protocol=protocol,
    )


def _unchecked(record: Mapping[str, Any], source: str) -> Setting:
    """Return what can be known of an experiment's setting."""
    values = (_need(record, "corpus", source, dict | None) or {}).values()
    paths = [path for value in values for path in (value if isinstance(value, list) else [value])]
    named = [path for path in paths if path and isinstance(path, str)]
    minis = [found for path in named if (found := corpora.is_mini(path))]
    made = _made(minis[0]) if minis else None
    return Setting(
        stage=_need(record, "stage", source, str),
        corpus=MINI if minis else results.UNKNOWN,
        corpus_id=made,
        made=made,
        state=results.UNCHECKED,
        seed=record.get("seed"),
        remarks=_remarks(record, source),
    )


def _need(record: Mapping[str, Any], key: str, source: str, kind: Any = object) -> Any:
    if key not in record:
        raise ValueError(f"{source}: the record has no {key!r}; {AGAIN}")
    if not isinstance(record[key], kind):
        raise ValueError(f"{source}: {key} cannot be {record[key]!r:.100}; {AGAIN}")
    return record[key]


def _text(record: Mapping[str, Any], key: str, source: str) -> str | None:
    found: str | None = _need({key: None, **record}, key, source, str | None)
    return found


def _store(record: Mapping[str, Any], source: str) -> dict[str, Any]:
    return _need({"store": None, **record}, "store", source, dict | None) or {}


def _remarks(record: Mapping[str, Any], source: str) -> tuple[str, ...]:
    for key in ("store", "feature_transform"):
        _need({key: None, **record}, key, source, dict | None)
    return tuple(remarks(record))


def _made(corpus: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {corpus.get(key)}" for key in ("version", "seed", "size"))
