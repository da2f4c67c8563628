"""`mt4ssl report`: all that is known of a run on one HTML page that needs no network."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from analysis.records import model_names, score_files, training_runs
from analysis.records.score import MINI, PARTIAL, REAL, UNKNOWN, Score
from analysis.records.score_files import ModelScores
from analysis.records.training_runs import CONFIG, LOG
from analysis.report import convergence_section, headline, inputs, own_section, page
from analysis.report import sections as report_sections
from analysis.report.inputs import RunFiles
from analysis.report.page import Block, Code, Details, Notes, Section
from analysis.tables import leaderboard
from analysis.tables.formats import Cell, Grid
from analysis.tables.leaderboard import ScoreTable, short
from mt4ssl_core.files import reading, remove_leftovers, write_text
from upstream.door import tasks
from upstream.suite import roots

NAME = "report.html"
_CORPORA = {
    REAL: "real",
    PARTIAL: "part of the real one",
    MINI: "synthesised, not comparable with SUPERB",
    UNKNOWN: "not checked",
}


def report(
    run: str | Path,
    others: Sequence[str | Path] = (),
    out: str | Path | None = None,
    score_set: str = "paper",
    broken: list[str] | None = None,
    names: Sequence[str] = (),
) -> Path:
    """Write one HTML page about a run and return its path.

    Shown is what lies in the folder or up to three folders below: results.jsonl (or s3prl
    experiments), probe.json, log.jsonl, convergence.json, decode.json. The same input gives the
    same page.

    Args:
        run: folder of a run.
        others: folders of runs to stand beside it in tables and plots.
        out: file to write; report.html in the run's folder by default.
        score_set: tasks of superb_s, "paper" or "public".
        broken: gets a line on each of ``others`` that cannot be read, which is left out, and so
            says the page; None: the first one is refused.
        names: what ``run`` and the first of ``others`` are called; by default like the checkpoint
            that was scored or probed, or like the folder.

    Raises:
        ValueError: a folder with nothing to show, two runs of one name, or damaged files.
    """
    mine_called, *called = model_names.given(names, len(others) + 1)
    mine, beside = inputs.find(run, mine_called), _readable(others, called, broken)
    if mine.empty:
        raise ValueError(
            f"{run}: nothing to report: no results.jsonl, probe.json, {LOG}, convergence.json or "
            "decode.json in it or three folders below; make some with `mt4ssl superb run`, "
            "`mt4ssl probe`, `mt4ssl pretrain`, `mt4ssl convergence` or `mt4ssl decode`"
        )
    mine, *beside = _named([mine, *beside], set(names))
    found = inputs.scores([mine, *beside])
    upstreams = {name: u for part in found.values() for name, u in part.upstreams.items()}
    models = {score.model for score in found[mine.name].scores}
    own = {model for model in models if not model_names.kind(upstreams[model])}
    given = {score.model for part in found.values() for score in part.scores}
    merged = ModelScores(
        [score for part in found.values() for score in part.scores],
        {name: size for part in found.values() for name, size in part.sizes.items()},
    )
    tables = leaderboard.tables(merged, score_files.published(), score_set)
    fingerprints = {r["fingerprint"] for r in mine.records if r.get("fingerprint")}
    sections = [
        report_sections.scores(mine, tables, own, given),
        *own_section.sections(mine),
        report_sections.weights(mine),
        report_sections.probes(mine, beside, fingerprints),
        convergence_section.section(mine, beside),
        *report_sections.word_errors(mine, beside),
        _setting(mine, beside),
    ]
    path = Path(out) if out is not None else Path(run) / NAME
    remove_leftovers(path.parent)
    facts = _facts(mine, found[mine.name].scores, tables)
    if beside:
        facts["Beside it"] = ", ".join(other.name for other in beside)
    said = headline.headline(tables, own, upstreams, mine.name)
    write_text(path, page.page(mine.name, said, facts, sections, broken or []))
    return path


def _readable(
    others: Sequence[str | Path], called: Sequence[str | None], broken: list[str] | None
) -> list[RunFiles]:
    """The files of runs that can be read whole."""
    found = []
    for other, name in zip(others, called, strict=True):
        try:
            files = inputs.find(other, name)
            if broken is not None:
                inputs.check(files)
            found.append(files)
        except (ValueError, OSError) as error:
            if broken is None:
                raise
            broken.append(f"left out: {error}")
    return found


def _named(runs: Sequence[RunFiles], asked: Collection[str]) -> list[RunFiles]:
    """Call runs after their models, unless a name was asked for or two would have one."""
    models = [None if run.name in asked else inputs.model_name(run) for run in runs]
    found = [model or run.name for run, model in zip(runs, models, strict=True)]
    if len(set(found)) < len(found):
        found = [run.name for run in runs]
    taken: dict[str, Path] = {}
    for run, name in zip(runs, found, strict=True):
        if name in taken:
            raise ValueError(
                f"{taken[name]} and {run.folder}: both are called {name!r}; give each run once, "
                "and --name where two folders have the same name"
            )
        taken[name] = run.folder
    return [replace(run, name=name) for run, name in zip(runs, found, strict=True)]


# --- Headline -------------------------------------------------------------------------------------


def _facts(run: RunFiles, scores: Sequence[Score], tables: Sequence[ScoreTable]) -> dict[str, str]:
    """Size, upstream, checkpoint, corpora, training, fingerprint: as far as they are known."""
    probes = [inputs.read(path) for path in run.probes]
    own = {score.model for score in scores}
    models = [probe["model"] for probe in probes]
    paths = [probe.get("checkpoint") for probe in probes]
    marks = [probe["fingerprint"] for probe in probes]
    if run.records:
        models = [record.get("name") or record.get("upstream") for record in run.records]
        paths = [record.get("ckpt") or record.get("upstream_ckpt") for record in run.records]
        marks = [record.get("fingerprint") for record in run.records]
    found = {}
    for table in tables:
        for model in (model for model in table.frame.index if model in own):
            size, whose = table.frame.loc[model, "params"], f" of {model}" if len(own) > 1 else ""
            if size > 0:
                found[f"Parameters{whose}"] = f"{short(size, 1e6)} M"
    found |= {
        "Upstream": _joined(models),
        "Checkpoint": _joined("/".join(Path(path).parts[-2:]) for path in paths if path),
        "Corpora": "; ".join(_corpora(scores)),
        **_training(run),
        "Fingerprint": _joined(str(mark)[:16] for mark in marks if mark),
    }
    return {name: value for name, value in found.items() if value}


def _joined(values: Any) -> str:
    return ", ".join(dict.fromkeys(str(value) for value in values if value))


def _corpora(scores: Sequence[Score]) -> list[str]:
    """Say of which kind the tasks' corpora are."""
    kinds: dict[str, set[str]] = {}
    for score in scores:
        kinds.setdefault(score.setting.corpus, set()).add(score.task)
    return [f"{_CORPORA[kind]} ({len(tasks)} tasks)" for kind, tasks in kinds.items()]


def _training(run: RunFiles) -> dict[str, str]:
    """Audio and updates of pre-training."""
    runs = inputs.training(run)
    hours = [one.train_hours for one in runs if one.train_hours is not None]
    updates = max((one.last_update for one in runs), default=0)
    several = f" ({len(runs)} runs)" if len(runs) > 1 else ""
    return {
        "Pre-trained on": f"{max(hours):.1f} h of audio" if hours else "",
        "Updates": f"{updates:,}{several}" if updates else "",
    }


# --- Setting --------------------------------------------------------------------------------------


def _setting(run: RunFiles, others: Sequence[RunFiles]) -> Section:
    """How the scores were measured, with which versions, from which files."""
    blocks: list[Block] = []
    if records := [record for record in run.records if not tasks.is_own(record["task"])]:
        blocks.append(page.Table(_measured(records)))
        if changed := _changed(records):
            blocks.append(Details("Settings that differ from SUPERB's", [Notes(changed)]))
    runs = inputs.training(run)
    if len(runs) > 1:
        text = json.dumps(training_runs.shared_settings(runs), indent=2, ensure_ascii=False)
        blocks.append(Details(f"Pre-training: {len(runs)} runs", [Code(text)]))
    for path in [one.folder / CONFIG for one in runs if len(runs) == 1]:
        if path.is_file():
            with reading(path):
                text = path.read_text(encoding="utf-8")
            blocks.append(Details(f"Pre-training: {path.relative_to(run.folder)}", [Code(text)]))
    for path in (*run.probes, *run.convergences):
        found = inputs.read(path)
        keys = ("machine", "versions", "setting")
        shown = {key: found[key] for key in keys if key in found}
        text = json.dumps(shown, indent=2, ensure_ascii=False)
        name = f"Setting and versions: {path.relative_to(run.folder)}"
        blocks.append(Details(name, [Code(text)]))
    heads = ["file", "date (UTC)", "bytes"]
    rows = [[Cell(text) for text in row] for row in inputs.inventory([run, *others])]
    files = Grid("Files that were read", [("", 3)], heads, rows)
    blocks.append(Details("Files", [page.Table(files)]))
    return Section("setting", "Setting and versions", blocks)


def _changed(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say for each task which values were overridden."""
    found: dict[str, None] = {}
    for record in records:
        texts = [f"{key}={value}" for key, value in (record.get("overrides") or {}).items()]
        texts += ["smoke run"] if record.get("smoke") else []
        if texts:
            found[f"{record['task']}: {', '.join(texts)}"] = None
    return list(found)


def _measured(records: Sequence[Mapping[str, Any]]) -> Grid:
    """A row per task and setting: rate, steps, versions, device, corpus."""
    heads = ["task", "upstream", "rate", "steps", "seed", "s3prl", "torch", "device", "kind",
             "hours", "corpus"]  # fmt: skip
    order = roots.in_order({record["task"] for record in records})
    rows: dict[tuple[str, ...], None] = {}
    for record in sorted(records, key=lambda record: order.index(record["task"])):
        corpus = record.get("corpus") or {}
        rate = record.get("rate", record.get("config", {}).get("optimizer", {}).get("lr"))
        values = [
            record["task"], record.get("upstream"), rate, record.get("step"), record.get("seed"),
            record.get("s3prl"), record.get("torch"), record.get("device"), corpus.get("kind"),
            f"{corpus['hours']:.2f}" if corpus.get("hours") else None, corpus.get("name"),
        ]  # fmt: skip
        rows[tuple("-" if value in (None, "") else str(value) for value in values)] = None
    cells = [[Cell(text) for text in row] for row in rows]
    return Grid("Heads on SUPERB's tasks", [("", len(heads))], heads, cells)
