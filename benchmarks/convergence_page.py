"""What docs/results.md shows of the convergence study (`real_convergence.py`): plots and tables."""

from pathlib import Path
from typing import Any

import pandas as pd

from analysis import plots
from analysis.convergence import cost_curves, updates_to_reach
from analysis.records.score import ARROWS
from benchmarks import pages
from mt4ssl_core.files import read_json

SCORES = Path(__file__).parent.parent / "analysis" / "scores" / "convergence"
CURVES, PLOT = "curves_updates", "scores_updates"
BOTH, OFFLINE = COMPARED = "both_targets", "offline_only"  # seed by seed
DRAWN = ("phone_ctc", "keyword", "speaker", "abx_across", "ks/acc", "offline_loss")
LINES = {"untrained": "-.", "filter banks, CMVN": "--", "filter banks, no CMVN": ":"}
WIDTH, ROW = 8.4, 3.2  # inches: 840 pixels of a page


def draw(folder: Path = SCORES) -> None:
    """Draw the committed scores against updates, beside what needs no training; then the losses."""
    record = read_json(SCORES / "results.json")
    points = pd.DataFrame(record["points"])
    shown = points[points["metric"].isin(DRAWN)]
    shown = shown.assign(group=shown["group"].str.replace("_", " "))
    figure, drawn = cost_curves.draw_scores(shown, "update")
    metrics = list(dict.fromkeys(drawn["metric"]))
    figure.set_size_inches(WIDTH, ROW * -(-len(metrics) // 2))
    for axis, metric in zip(figure.axes, metrics, strict=False):
        for name, scores in record["references"].items():
            if metric in scores:
                axis.axhline(scores[metric], color="0.35", lw=1.2, ls=LINES[name], label=name)
    figure.legends.clear()
    plots.legend_above(figure, plots.lines_of(figure.axes[:1]))
    plots.save(figure, folder / PLOT, cost_curves.summary(points, "update"))
    curves = pd.read_csv(SCORES / f"{CURVES}.csv")
    named = curves.assign(group=curves["group"].str.replace("_", " "))
    plots.save(cost_curves.training_figure(named), folder / CURVES, curves)


def table() -> str:
    """The tables of docs/results.md, from the committed results."""
    record = read_json(SCORES / "results.json")
    points = pd.DataFrame(record["points"])
    metrics = {
        m: points[points.metric == m].direction.iloc[0] for m in dict.fromkeys(points.metric)
    }
    last = points.sort_values("update").drop_duplicates(["run", "metric"], keep="last")
    heads = [f"{m} {ARROWS[d]}{_when(last, m)}" for m, d in metrics.items()]
    lines = [pages.line(["model", *heads])]
    lines.append("| --- |" + " ---: |" * len(metrics))
    seeds = last.groupby("group")["seed"].nunique()
    for group in dict.fromkeys(points.group):
        cells = [f"{group.replace('_', ' ')}, {_seeds(seeds[group])}"]
        for metric in metrics:
            values = last[(last.group == group) & (last.metric == metric)].value
            spread = f" ({values.min():.3f}-{values.max():.3f})" if len(values) > 1 else ""
            few = f", {_seeds(len(values))}" if len(values) < seeds[group] else ""
            cells.append(f"{values.mean():.3f}{spread}{few}" if len(values) else "-")
        lines.append(pages.line(cells))
    for name, scores in record["references"].items():
        lines.append(
            pages.line([name, *(f"{scores[m]:.3f}" if m in scores else "-" for m in metrics)])
        )
    lines += ["", *_reached(record, points), "", _setting(record, last)]
    return "\n".join(lines)


def _seeds(count: int) -> str:
    return f"{count} seed" + ("s" if count > 1 else "")


def _when(last: pd.DataFrame, metric: str) -> str:
    """At which updates a metric was last scored, where that is not the last update of all."""
    updates = sorted(set(last[last.metric == metric]["update"]))
    return "" if updates == [last["update"].max()] else f", update {', '.join(map(str, updates))}"


def _setting(record: dict[str, Any], last: pd.DataFrame) -> str:
    setting, probed = record["setting"], record["setting"]["scoring"]["probe_minutes"]
    batch, end = setting["shared"]["data.batch_seconds"], last["update"].max()
    hours = last[last["update"] == end]["audio_hours"].mean()
    origins = {row["metric"]: row["origin"] for row in record["reach"]}
    targets = "; ".join(f"`{metric}`, {origin}" for metric, origin in origins.items())
    more = ""
    if "word_speakers" in setting:
        chosen = ", ".join(f"`{key}={value}`" for key, value in setting["tuning"].items())
        more = (
            f" `abx_across`: whole keywords of {setting['word_speakers']} test speakers, best "
            "layer on these. `an4_wer`, `an4_cer`: checkpoints fine-tuned on AN4 with `tiny_ctc` "
            f"({chosen}), greedy, test speakers."
        )
    for task, head in setting.get("heads", {}).items():
        if f"{task}/acc" in set(last["metric"]):
            more += (
                f" `{task}/acc`: s3prl's own head, {head['runner.total_steps']} steps at "
                f"{head['optimizer.lr']:g}, one seed, test speakers."
            )
    return (
        f"After {end} updates of {batch:.0f} s: {hours:.1f} h "
        f"heard of {setting['train_hours']:.2f} h; mean and range of the seeds. Probes: "
        f"{probed:.0f} minutes to train on, other speakers to test on (`speaker`: other utterances "
        "of speakers that pre-training did not hear), best layer on training data held out."
        f"{more} The scores to reach: {targets}. ± is half of the 95 % t interval "
        "over seeds; in brackets, times the fastest. The last column is a ratio seed by "
        "seed, with its 95 % t interval. "
        f"{record['machine']}."
    )


def _reached(record: dict[str, Any], points: pd.DataFrame) -> list[str]:
    """Updates to reach a score, a line per metric, a column per model."""
    asked = {(row["metric"], row["target"]): row["origin"] for row in record["reach"]}
    targets = [updates_to_reach.TargetScore(*key, origin) for key, origin in asked.items()]
    reach = updates_to_reach.reach_rows(points, targets)
    groups = list(dict.fromkeys(row["group"] for row in reach))
    heads = [*(group.replace("_", " ") for group in groups), "both / offline only"]
    lines = [pages.line(["updates to reach", *heads]), "| --- |" + " ---: |" * len(heads)]
    for metric, value in asked:
        rows = {
            row["group"]: row for row in reach if (row["metric"], row["target"]) == (metric, value)
        }
        bound = {"max": "≥", "min": "≤"}[points[points.metric == metric].direction.iloc[0]]
        cells = [f"{metric} {bound} {value:.3f}"]
        cells += [_updates(rows[group]) if group in rows else "-" for group in groups]
        found = updates_to_reach.paired_ratio(*(rows.get(name) for name in COMPARED))
        cells.append("-" if found is None else "{:.2f} ({:.2f} to {:.2f})".format(*found))
        lines.append(pages.line(cells))
    return lines


def _updates(row: dict[str, Any]) -> str:
    if row["updates"] is None:
        return f"{row['seeds_reached']} of {row['seeds']}"
    ratio = ""
    if row["ratio"] is not None:
        ratio = f" ({'≥ ' if row['ratio_at_least'] else ''}{row['ratio']:.2f}x)"
    some = "" if row["seeds_reached"] == row["seeds"] else f", {_seeds(row['seeds_reached'])}"
    width = updates_to_reach.half_width(list(row["by_seed"].values()))
    spread = "" if width is None or row["at_most"] else f" ± {width:.0f}"
    return f"{'≤ ' if row['at_most'] else ''}{row['updates']:.0f}{spread}{ratio}{some}"
