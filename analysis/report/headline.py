"""What a report says first: a model against an untrained one, filter banks and published models."""

import math
from collections.abc import Collection, Mapping, Sequence

from analysis.comparing import comparison
from analysis.records import model_names, superb_score
from analysis.records.model_names import FILTER_BANKS, UNTRAINED
from analysis.report import duels
from analysis.report.duels import Duel
from analysis.report.page import Block, Details, Headline, Missing, Notes, Number, Paragraph
from analysis.tables.leaderboard import DONE, SCORE, ScoreTable, number

_OF = {UNTRAINED: "an untrained copy", FILTER_BANKS: FILTER_BANKS}
_PLAIN = "fbank_no_cmvn"
_NORMALISED = (
    "is normalised over each utterance, which leaves little to heads that take the mean over time. "
    "Not compared with filter banks that are not"
)
_NO_CMVN = f"mt4ssl superb run --upstream {_PLAIN} --out OTHER"
_ONE_SEED = Missing(
    "One head seed was trained: how far scores move with others is not known",
    "mt4ssl superb run --seeds 3",
)
_MAKE = {  # how what is missing is made
    UNTRAINED: "mt4ssl superb run -k CKPT --upstream mt4ssl_untrained --out OTHER",
    FILTER_BANKS: "mt4ssl superb run --upstream fbank --out OTHER",
}


def headline(
    tables: Sequence[ScoreTable], own: Collection[str], upstreams: Mapping[str, str], title: str
) -> Headline:
    """Return one sentence and up to four numbers on the best of a run's own models.

    Args:
        tables: of the leaderboard; the first that has such a model is spoken of.
        own: models of the run that are nothing to compare with.
        upstreams: of the models of all runs.
        title: what the page is called.
    """
    for table in tables:
        mine = [str(model) for model in table.frame.index if model in own]
        if mine:
            best = max(mine, key=lambda model: _total(table, model))
            return _SPOKEN[table.scored](table, best, upstreams)
    return Headline(f"{title} has no score on SUPERB's tasks yet, so nothing can be compared.")


def _total(table: ScoreTable, model: str) -> tuple[float, int]:
    row = _values(table, model)
    return (-math.inf if math.isnan(row[SCORE]) else row[SCORE]), int(row[DONE])


def _values(table: ScoreTable, model: str) -> dict[str, float]:
    row = table.frame.loc[[model]].to_numpy(float)[0]
    return dict(zip(table.frame.columns, row.tolist(), strict=True))


def _scored(table: ScoreTable, model: str, upstreams: Mapping[str, str]) -> Headline:
    """Speak of SUPERB's table: by superb_s, or by the points of the tasks in common."""
    every = {str(name): _points(table, str(name)) for name in table.frame.index}
    mine, all_tasks = every[model], superb_score.tasks_of(table.score_set)
    if not mine:
        return _plain(table, model, upstreams)
    count = f"{len(mine)} of {len(all_tasks)} tasks"
    whole = len(mine) == len(all_tasks)
    mean = sum(mine.values()) / len(mine)
    what = f"superb_s, {table.score_set} set" if whole else f"points, mean of {count}"
    numbers = [Number(number(mean, 0), what)]
    numbers.append(Number(_signed(mean), "points against filter banks (published: 0)"))
    clauses = [f"a superb_s of {mean:.0f}" if whole else f"{mean:.0f} points, the mean of {count}"]
    remarks: list[Block] = []
    if not whole:
        remarks.append(Paragraph(f"superb_s needs all tasks of the set; {model} has {count}."))
    untrained = _common(every, mine, _of_kind(UNTRAINED, table, upstreams))
    if untrained:
        name, gain, tasks = untrained
        numbers.append(Number(_signed(gain), f"points against {name}, {tasks} tasks"))
    else:
        remarks.append(_not_compared(UNTRAINED))
    near = _common(every, mine, list(table.frame.index[: table.published]), len(mine))
    if near:
        name, gain, tasks = near
        how = "by superb_s" if whole else f"on the same {tasks} tasks"
        numbers.append(Number(_signed(gain), f"points against {name}, the nearest published"))
        place = "level with" if round(gain) == 0 else f"{abs(gain):.0f} {_SIDE[gain > 0]}"
        clauses.append(f"{place} {name}, the nearest published model {how}")
    if any(score.model == model and score.seeds == 1 for score in table.scores):
        remarks.append(_ONE_SEED)
    return Headline(f"{model} has {', '.join(clauses)}.", numbers, remarks)


_SIDE = {True: "above", False: "below"}


def _points(table: ScoreTable, model: str) -> dict[str, float]:
    return superb_score.points(_values(table, model), table.score_set)


def _common(
    every: Mapping[str, Mapping[str, float]],
    mine: Mapping[str, float],
    others: Sequence[str],
    least: int = 1,
) -> tuple[str, float, int] | None:
    """Return the nearest other by the mean of points in common, the difference, and the tasks."""
    found = []
    for other in others:
        shared = [task for task in mine if task in every[other]]
        if len(shared) >= least:
            gain = sum(mine[task] - every[other][task] for task in shared) / len(shared)
            found.append((other, gain, len(shared)))
    return min(found, key=lambda one: abs(one[1]), default=None)


def _signed(value: float) -> str:
    return f"{'+' if round(value) > 0 else ''}{number(value, 0)}"


def _of_kind(kind: str, table: ScoreTable, upstreams: Mapping[str, str]) -> list[str]:
    names = map(str, table.frame.index)
    return [name for name in names if model_names.kind(upstreams.get(name, "")) == kind]


def _plain(table: ScoreTable, model: str, upstreams: Mapping[str, str]) -> Headline:
    """Speak of a table without published models: in how many scores the model is better."""
    of_kind = {kind: _of_kind(kind, table, upstreams) for kind in (UNTRAINED, FILTER_BANKS)}
    fought = duels.fight(table, model, [name for names in of_kind.values() for name in names])
    one_seed = any(duel.finding and duel.finding.one_seed for duel in fought)
    heads, those = (" of these heads", "those on ") if one_seed else ("", "")
    numbers, clauses = [], []
    remarks: list[Block] = []
    for kind, others in of_kind.items():
        verdicts = duels.together([duel for duel in fought if duel.other in others])
        if not verdicts:
            remarks.append(_not_compared(kind))
            continue
        every = f", each of {len(others)}" if len(others) > 1 else ""
        given = {upstreams[name] for name in others}
        if kind == FILTER_BANKS and _PLAIN not in given:
            remarks.append(Missing(f"{', '.join(sorted(given))} {_NORMALISED}", _NO_CMVN))
        count = f"{list(verdicts.values()).count(duels.BETTER)} of {len(verdicts)}"
        numbers.append(Number(count, f"scores{heads} shown to be better than {_OF[kind]}{every}"))
        clauses.append(f"{those}{_OF[kind]} in {count} scores{_but(verdicts)}")
    if fought:
        remarks += _how_tested(fought, one_seed)
    why = f"no whole task of the {table.score_set} set" if table.scored else table.title
    remarks.append(Paragraph(f"Not compared with published models: {why}."))
    if not clauses:
        return Headline(f"{model} has scores, and nothing to compare them with.", [], remarks)
    who = f"The heads on {model} are" if one_seed else f"{model} is"
    said = f"{who} shown to be better than {', and than '.join(clauses)}."
    return Headline(said, numbers, remarks)


def _but(verdicts: Mapping[str, str]) -> str:
    """Name the scores in which no advantage is shown, by what is."""
    others = (duels.WORSE, duels.ALIKE, duels.UNTESTED)
    named = {kind: [name for name, found in verdicts.items() if found == kind] for kind in others}
    parts = [f"{kind} in {', '.join(names)}" for kind, names in named.items() if names]
    return f" ({'; '.join(parts)})" if parts else ""


def _how_tested(fought: Sequence[Duel], one_seed: bool) -> list[Block]:
    """Say when a difference counts as shown, and what each test found."""
    text = (
        f"Shown: p is below {comparison.LEVEL:g} in paired tests over utterances and speakers, "
        "corrected for their number, as mt4ssl superb compare does."
    )
    lines = [duel.sentence for duel in fought]
    return [
        Paragraph(text),
        *([_ONE_SEED] if one_seed else []),
        Details(f"Every comparison ({len(lines)})", [Notes(lines)]),
    ]


def _not_compared(kind: str) -> Missing:
    what = f"Not compared with {_OF[kind]}: score one and report again --with OTHER"
    return Missing(what, _MAKE[kind])


_SPOKEN = {True: _scored, False: _plain}
