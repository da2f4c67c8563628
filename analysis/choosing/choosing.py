"""`mt4ssl choose`: checkpoints and layers in order, with the reasons in plain sentences."""

from collections.abc import Sequence
from typing import Any

from analysis.choosing import candidates, choice_plots, judging, signals
from analysis.choosing.choice_request import ChoiceRequest
from analysis.choosing.judging import Judged, Values
from analysis.choosing.ranking import Criterion, Ranking, rank
from analysis.records.score import ARROWS
from analysis.tables.formats import markdown_text
from mt4ssl_core.files import check_out, remove_leftovers, user_path, write_json, write_text

JSON, TABLE, PLOT = "choice.json", "table.md", "choice"
_GOES_ON = "the same command goes on where it stopped"  # of a run; other scores are not kept
UNLABELLED = (
    "No label was looked at. Such monitors agree with probes on checkpoints in part, on layers "
    "hardly: docs/results.md (Which checkpoint, without labels); where it matters, give --labels."
)


def choose(asked: ChoiceRequest, broken: list[str]) -> str:
    """Rank checkpoints and layers; write choice.json, table.md and a plot to ``out``.

    ``broken`` gets a line on each checkpoint that cannot be looked at. Returns the table.

    Raises:
        ValueError: nothing to choose from, no audio, labels that allow no probe, options that do
            not go together, or an ``out`` that cannot be written.
        KeyboardInterrupt: says what is kept.
    """
    _check(asked)
    found, notes = candidates.find(asked.candidates, broken)
    if asked.labels:
        try:
            judged, criteria, source = judging.by_probes(found, asked, notes, broken)
        except KeyboardInterrupt:
            kept = any(one.run for one in found)
            raise KeyboardInterrupt(_GOES_ON if kept else "") from None
        of_layers = criteria
    else:
        judged, source = judging.by_signals(found, asked, broken)
        criteria, of_layers = list(signals.OF_CHECKPOINTS), list(signals.OF_LAYERS)
        notes = [UNLABELLED, *notes]
    out = user_path(asked.out)
    remove_leftovers(out)
    ranking = rank([item.values for item in judged], criteria)
    inside = [rank(item.layers, of_layers) for item in judged]
    notes += [*ranking.left_out, *broken]
    lines = _reasons(judged, ranking, inside, source)
    text = "\n".join([*lines, "", *_table(judged, ranking, inside), "", *notes]) + "\n"
    write_json(out / JSON, _record(judged, ranking, inside, source, lines, notes))
    write_text(out / TABLE, text)
    names = [item.candidate.name for item in judged]
    choice_plots.draw(names, ranking, [item.layers for item in judged], inside[0].used, out / PLOT)
    return text


def _check(asked: ChoiceRequest) -> None:
    if asked.labels and asked.audio is not None:
        raise ValueError("--audio is looked at without labels; leave it or --labels out")
    for name in ("probes", "alignments"):
        if getattr(asked, name) is not None and not asked.labels:
            raise ValueError(f"--{name} is for probes, which need labels; give --labels SOURCE")
    check_out(asked.out)


def _reasons(
    judged: Sequence[Judged], ranking: Ranking, inside: Sequence[Ranking], source: str
) -> list[str]:
    """Say what to use, and why."""
    first = ranking.order[0]
    best, layers = judged[first], inside[first]
    layer = layers.order[0]
    lines = [
        f"Use {markdown_text(best.candidate.name)} ({best.candidate.path}), layer {layer}.",
        "",
    ]
    if len(judged) > 1:
        lines.append(
            f"It is first of {len(judged)} checkpoints: {_why(ranking, first, best.values)}."
        )
    lines.append(
        f"Its layer {layer} is first of {len(layers.scores)} (0 is the input of the first): "
        f"{_why(layers, layer, best.layers[layer])}."
    )
    return [*lines, f"Measured on {markdown_text(source)}."]


def _why(ranking: Ranking, number: int, values: Values) -> str:
    """The criteria that count, the heaviest first, with the place of one candidate in each."""
    counted = sorted((c for c in ranking.used if c.weight), key=lambda c: -c.weight)
    if not counted:
        return "nothing could be compared, so the last one is taken"
    return "; ".join(
        f"{one.told} {values[one.name]:.4g}, place {ranking.places[number][one.name]} "
        f"(weight {one.weight:g})"
        for one in counted
    )


def _table(judged: Sequence[Judged], ranking: Ranking, inside: Sequence[Ranking]) -> list[str]:
    """A line per checkpoint, the best first."""
    names = [one.name for one in ranking.used]
    heads = ["checkpoint", "score", "layer", *(_arrow(one) for one in ranking.used)]
    lines = ["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (len(heads) - 1)]
    for number in ranking.order:
        item, score = judged[number], ranking.scores[number]
        cells = [markdown_text(item.candidate.name), "-" if score is None else f"{score:.2f}"]
        cells += [str(inside[number].order[0]), *(f"{item.shown[name]:.4g}" for name in names)]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _arrow(one: Criterion) -> str:
    return f"{one.name} {ARROWS[one.direction]}"


def _record(
    judged: Sequence[Judged], ranking: Ranking, inside: Sequence[Ranking], source: str,
    lines: Sequence[str], notes: Sequence[str],
) -> dict[str, Any]:  # fmt: skip
    return {
        "said": [line for line in lines if line],
        "data": source,
        "criteria": [vars(one) for one in ranking.used],
        "checkpoints": [
            {
                "name": judged[n].candidate.name,
                "path": str(judged[n].candidate.path),
                "update": judged[n].candidate.update,
                "score": ranking.scores[n],
                "values": judged[n].values,
                "test": judged[n].shown if judged[n].shown is not judged[n].values else None,
                "layers": [
                    {"layer": layer, "score": inside[n].scores[layer], "values": values}
                    for layer, values in enumerate(judged[n].layers)
                ],
                "layer": inside[n].order[0],
            }
            for n in ranking.order
        ],
        "notes": list(notes),
    }
