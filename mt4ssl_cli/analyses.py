"""``mt4ssl leaderboard``, ``layer-weights``, ``probe``, ``choose``, ``convergence``, ``report``."""

from pathlib import Path
from typing import Annotated

from analysis.abx.distances import DISTANCES
from analysis.choosing.choice_request import ChoiceRequest
from analysis.convergence.scoring import JOBS, SEEDS, Scoring
from analysis.probes.probe_request import ProbeRequest
from mt4ssl_cli import options as o
from mt4ssl_cli.framework import command, group, incomplete

analyses = group()
FORMATS = ("md", "latex", "booktabs", "csv", "html")
MOVED = "the checkpoint, if it is no longer where it was"
SPEECH = (
    "labelled speech: a table index.csv (columns path, split, speaker, gender, keyword, phones), "
    "a mini_superb folder, TIMIT, LibriSpeech or Speech Commands"
)
CANDIDATES = "run folders, of which every kept checkpoint counts, and checkpoints"
RUNS = "run.out folders; or: study CONFIG ... [KEY=VALUE ...], to pre-train them first"
Several = list[str] | None


@command(analyses, "mt4ssl leaderboard runs/first --format latex --out row.tex")
def leaderboard(
    runs: Annotated[Several, o.argument("RUN", "what --out of `superb run` was")] = None,
    format: Annotated[str, o.choice(FORMATS, "of the table")] = FORMATS[0],
    out: Annotated[str | None, o.path("FILE", "write it there", default="print it")] = None,
    score_set: o.ScoreSet = "paper",
    name: o.Name = None,
) -> int:
    """Print SUPERB's table: published scores and those of your runs, with superb_s."""
    from analysis.tables import leaderboard as table

    broken: list[str] = []
    _print_or_write(table.leaderboard(runs or [], format, score_set, broken, name or []), out)
    return incomplete(broken)


def _print_or_write(text: str, out: str | None) -> None:
    from mt4ssl_core.files import write_text

    if out is None:
        print(text)
    else:
        write_text(out, text)
        print(f"written: {out}")


@command(analyses, "mt4ssl wer-table runs/first --format latex --out wer.tex", "wer-table")
def wer_table(
    runs: Annotated[Several, o.argument("RUN", "a folder with what `decode --out` wrote")] = None,
    format: Annotated[str, o.choice(FORMATS, "of the table")] = FORMATS[0],
    out: Annotated[str | None, o.path("FILE", "write it there", default="print it")] = None,
    name: o.Name = None,
) -> int:
    """Print the papers' table: published word error rates and those of your runs."""
    from analysis.tables import wer_table as table

    broken: list[str] = []
    _print_or_write(table.wer_table(runs or [], format, broken, name or []), out)
    return incomplete(broken)


@command(analyses, "mt4ssl layer-weights runs/first/superb --audio speech")
def layer_weights(
    run_folder: o.RunFolder,
    out: Annotated[str | None, o.path("DIR", "for table and figures", default="RUN")] = None,
    audio: Annotated[str | None, o.path("DIR", "scale by the layers' norms on it")] = None,
    ckpt: Annotated[str | None, o.path("CKPT", MOVED, "-k", "--ckpt")] = None,
    device: o.Device = ProbeRequest.device,
) -> int:
    """Draw which layers the heads of a run weigh most."""
    from analysis import layer_weights as weights

    broken: list[str] = []
    frame = weights.draw(run_folder, out, audio, ckpt, device, broken)
    print(weights.markdown(frame))
    code = incomplete(broken)
    heads = int(frame.drop_duplicates(["model", "task"])["heads"].sum())
    base = Path(out or run_folder) / weights.NAME
    print(f"{heads} of {heads + len(broken)} heads: {base}.svg, .png and .csv")
    return code


@command(analyses, "mt4ssl probe -k last.pt --data TIMIT --out runs/first/probe", resumes=True)
def probe(
    data: Annotated[list[str], o.path("SOURCE ...", SPEECH)],
    out: Annotated[str, o.path("DIR", "for tables and figures")],
    ckpt: o.MaybeCkpt = None,
    upstream: o.Upstream = ProbeRequest.upstream,
    alignments: o.Alignments = None,
    probes: Annotated[
        str | None, o.word("A,B", "such as phone,keyword", default="all there are labels for")
    ] = None,
    minutes: o.Minutes = ProbeRequest.minutes,
    clusters: Annotated[int, o.number(o.COUNT, "k-means of each layer")] = ProbeRequest.clusters,
    compare: Annotated[
        str | None, o.path("CKPT", "another one: CKA of its layers with these")
    ] = None,
    seed: o.Seed = ProbeRequest.seed,
    device: o.Device = ProbeRequest.device,
    store_dir: o.LayerStore = None,
    store_gb: o.LayerStoreGb = None,
    items: o.AbxItems = None,
    distance: Annotated[str, o.choice(DISTANCES, "of frames, in ABX")] = ProbeRequest.distance,
) -> int:
    """Measure what each layer of an encoder holds: phones, words, speakers."""
    from analysis.probes import probing

    asked = ProbeRequest(
        data, out, ckpt=ckpt, upstream=str(upstream), alignments=alignments, probes=probes,
        minutes=minutes, clusters=clusters, compare=compare, seed=seed, device=device,
        store_dir=store_dir, store_gb=store_gb, items=items, distance=distance,
    )  # fmt: skip
    found = probing.probe(asked)
    print(found.table)
    code = incomplete([f"not probed: {why}" for why in found.failed])
    print(found.done)
    return code


@command(
    analyses,
    "mt4ssl choose runs/first\nmt4ssl choose runs/a runs/b/last.pt --labels TIMIT --probes phone",
)
def choose(
    candidates: Annotated[list[str], o.argument("RUN_OR_CKPT", CANDIDATES)],
    out: Annotated[str, o.path("DIR", "for table, plot and choice.json")] = ChoiceRequest.out,
    audio: Annotated[
        str | None, o.path("DIR", "look at this audio", default="what the runs held out")
    ] = None,
    labels: Annotated[
        Several, o.path("SOURCE ...", "let probes decide, on this, as --data of `mt4ssl probe`")
    ] = None,
    alignments: o.Alignments = None,
    probes: Annotated[
        str | None, o.word("A,B", "such as phone,keyword", default="all there are labels for")
    ] = None,
    minutes: o.Minutes = ChoiceRequest.minutes,
    seed: o.Seed = ChoiceRequest.seed,
    device: o.Device = ChoiceRequest.device,
) -> int:
    """Rank checkpoints and their layers, without labels or with some."""
    from analysis.choosing import choosing

    broken: list[str] = []
    asked = ChoiceRequest(
        candidates, out, audio, labels or (), alignments, probes, minutes, seed, device
    )
    print(choosing.choose(asked, broken))
    code = incomplete(broken)
    print(f"written: {Path(out) / choosing.JSON}, {choosing.TABLE} and {choosing.PLOT}.svg")
    return code


@command(
    analyses,
    "mt4ssl convergence runs/a runs/b --probe-data TIMIT --probes phone_ctc\n"
    "mt4ssl convergence study tiny.yaml mine.yaml --seeds 3 --out runs/study",
    resumes=True,
)
def convergence(
    runs: Annotated[list[str], o.argument("RUN", RUNS)],
    out: Annotated[str | None, o.path("DIR", "for all it writes", default="convergence")] = None,
    labels: Annotated[
        Several, o.word("NAME ...", "names of the RUNs; those of one are its seeds")
    ] = None,
    seeds: Annotated[int, o.number(o.COUNT, "study: of each config")] = SEEDS,
    jobs: Annotated[int, o.number(o.JOBS, "study: runs at a time")] = JOBS,
    probe_data: Annotated[
        Several, o.path("SOURCE ...", "probe every checkpoint on this, as --data of `mt4ssl probe`")
    ] = None,
    alignments: o.Alignments = None,
    probes: Annotated[str, o.word("A,B", "what is probed")] = Scoring.probes,
    minutes: o.Minutes = Scoring.probe_minutes,
    layer: Annotated[str, o.word("N", "auto (best on held-out data) or a number")] = Scoring.layer,
    tasks: Annotated[str | None, o.word("A,B", "train and test these on every checkpoint")] = None,
    roots: o.MaybeRoots = None,
    set: o.Changes = None,
    allow_partial: o.AllowPartial = False,
    scores: Annotated[str | None, o.path("FILE", "CSV of run,update,metric,value")] = None,
    target: Annotated[Several, o.word("METRIC=VALUE ...", "updates to reach this")] = None,
    items: o.AbxItems = None,
) -> int:
    """Compare how fast pre-training runs converge."""
    from analysis.convergence import comparison, scoring_checks, study

    scoring = Scoring(
        probe_data or (), alignments, probes=probes, layer=layer, probe_minutes=minutes,
        superb=tasks, roots=roots, set=set or (), allow_partial=allow_partial, scores=scores,
        target=target or (), items=items,
    )  # fmt: skip
    is_study = runs[0] == "study"
    scoring_checks.check_study(is_study, labels, seeds, jobs)
    if is_study:
        return study.study_of(runs[1:], seeds, out, scoring, jobs)
    broken: list[str] = []
    place = Path(out or "convergence")
    print(comparison.compare(runs, place, labels, scoring, broken=broken))
    code = incomplete(broken)
    print(f"{place / comparison.TABLE}, {place / comparison.JSON} and figures beside them")
    return code


@command(analyses, "mt4ssl report runs/first --with runs/second")
def report(
    run_folder: Annotated[str, o.argument("RUN", "folder of a run, or of a superb run")],
    others: Annotated[Several, o.path("RUN ...", "beside it", "--with")] = None,
    out: Annotated[str | None, o.path("FILE", "page to write", default="RUN/report.html")] = None,
    score_set: o.ScoreSet = "paper",
    name: o.Name = None,
) -> int:
    """Write one HTML page about a run: scores, layers, probes, convergence."""
    from analysis.report import report as page

    broken: list[str] = []
    path = page.report(run_folder, others or [], out, score_set, broken, name or [])
    code, runs = incomplete(broken), len(others or []) + 1
    print(f"{runs - len(broken)} of {runs} runs, written: {path}")
    return code
