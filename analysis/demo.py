"""`mt4ssl demo`, the main job in small: synthesise, pre-train MT4SSL, score on three SUPERB tasks.

Every step is skipped when its result is there, so an interrupted demo goes on where it stopped.
"""

import itertools
import json
import multiprocessing
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mt4ssl_core.bars import Bar

if TYPE_CHECKING:
    import pandas

CONFIG = "demo"
PROBE_MINUTES = 1.5
ACCUMULATE = "runner.gradient_accumulate_steps"
TASKS: dict[str, dict[str, Any]] = {  # the same head, steps and rate for every system
    "ks": {"runner.total_steps": 200, "optimizer.lr": 5e-3},
    "sid": {"runner.total_steps": 200, "optimizer.lr": 5e-3, ACCUMULATE: 1},
    "pr": {"runner.total_steps": 400, "optimizer.lr": 1e-2, ACCUMULATE: 1},
}
SYSTEMS = {  # label: name on s3prl's hub
    "mt4ssl": "mt4ssl",
    "untrained copy": "mt4ssl_untrained",
    "fbank": "fbank",
    "fbank, no CMVN": "fbank_no_cmvn",
}


@contextmanager
def timed(name: str) -> Iterator[None]:
    """Say how long a step took."""
    started = time.perf_counter()
    yield
    print(f"[{time.perf_counter() - started:5.1f} s] {name}", flush=True)


def heard(out: Path, corpora: dict[str, Any]) -> Path:
    """The folder of what is pre-trained on: unlabelled speech, and that which PR's head learns
    from, unlabelled, as LibriSpeech's training audio is of SUPERB's models.
    """
    folder = out / "heard"
    folder.mkdir(parents=True, exist_ok=True)
    for audio in (corpora["pretrain"], corpora["pr"]["path"] / "train-clean-100"):
        if not (folder / audio.name).is_symlink():
            (folder / audio.name).symlink_to(os.path.relpath(audio, folder))
    return folder


def learn(out: Path, audio: Path, updates: int | None, overrides: Sequence[str] = ()) -> Path:
    """Audio -> k-means labels -> MT4SSL; returns the checkpoint. updates: None: as configured."""
    from mt4ssl_core import config, configs
    from mt4ssl_core.labelling.kmeans_fit import fit_corpus
    from mt4ssl_core.labelling.kmeans_label import label_corpus
    from mt4ssl_core.training import pretrain

    labels, checkpoint = out / "labels" / "train.km", out / "pretrain" / "last.pt"
    if not labels.exists():
        km = out / "kmeans.safetensors"
        with timed("k-means on MFCC, and a label for every frame"):
            fit_corpus(audio, km, k=100)
            label_corpus(km, audio, labels.parent)
    cfg = config.load(
        configs.path(CONFIG),
        [
            f"data.train={labels.with_suffix('.tsv')}",
            f"data.labels={labels}",
            f"run.out={checkpoint.parent}",
            *([] if updates is None else [f"optim.max_updates={updates}"]),
            *overrides,
        ],
    )
    with timed(f"MT4SSL pre-training, {cfg.optim.max_updates} updates"):
        pretrain.pretrain(cfg)
    return checkpoint


def is_done(expdir: Path, upstream: str, checkpoint: Path, overrides: dict[str, Any]) -> bool:
    """Whether ``expdir`` holds the results of this checkpoint with these head settings."""
    from upstream.door import cache, tasks
    from upstream.heads import results

    own = str(checkpoint) if upstream.startswith("mt4ssl") else None
    found = results.read(expdir)
    for record in found:
        settings = {key: tasks.get(record["config"], key) for key in overrides}
        if record["fingerprint"] != cache.fingerprint_of(own) or settings != overrides:
            shutil.rmtree(expdir)
            return False
    return bool(found)


def head_settings(task: str, head: dict[str, Any], every: int) -> dict[str, Any]:
    """The overrides of a task with ``head``, validated and saved ``every`` so many steps, whose
    audio is read in the process that trains.
    """
    loader = "corpus" if task == "pr" else "datarc"
    often = {"runner.eval_step": every, "runner.save_step": every}
    return {**head, **often, f"downstream_expert.{loader}.num_workers": 0}


def train_heads(
    out: Path, task: str, upstream: str, root: str, checkpoint: Path, seeds: int
) -> None:
    """Train and test the heads of one upstream on one task; what s3prl prints goes to a file."""
    import torch

    torch.set_num_threads(1)
    folder = out / "superb" / task
    overrides = head_settings(task, TASKS[task], TASKS[task]["runner.total_steps"])
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / f"{upstream}.log", "a") as log, redirect_stdout(log), redirect_stderr(log):
        from upstream.heads import runner
        from upstream.store.options import StoreOptions

        # features are computed once: the seeds share them
        store = StoreOptions("frames", str(out / "features"), precision="fp32")
        for seed in range(1, seeds + 1):
            expdir = folder / f"{upstream}_seed{seed}"
            if not is_done(expdir, upstream, checkpoint, overrides):
                runner.run(
                    task,
                    upstream,
                    expdir,
                    ckpt=checkpoint if upstream.startswith("mt4ssl") else None,
                    root=root,
                    overrides=overrides,
                    seed=seed,
                    device="cpu",
                    store=store,
                )


def probe(out: Path, checkpoint: Path) -> None:
    """Measure what each layer holds; what is printed goes to a file."""
    import torch

    torch.set_num_threads(1)
    folder = out / "probe"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "log", "a") as log, redirect_stdout(log), redirect_stderr(log):
        from analysis.probes import probing

        asked = probing.ProbeRequest(
            data=[str(out / "mini_superb")],
            out=str(folder),
            ckpt=str(checkpoint),
            probes="phone,keyword",
            minutes=PROBE_MINUTES,
            clusters=50,
            device="cpu",
        )
        if not probing.is_done(asked) and (failed := probing.probe(asked).failed):
            raise ValueError(f"not probed: {'; '.join(failed)}; see {folder / 'log'}")


def score(out: Path, corpora: dict[str, Any], checkpoint: Path, seeds: int) -> None:
    """Train and test every head of every system, and probe ours, two at a time."""
    jobs = [
        (out, task, upstream, corpora[task]["root"], checkpoint, seeds)
        for task, upstream in itertools.product(TASKS, SYSTEMS.values())
    ]
    # fresh processes: s3prl's import and torch's threads do not survive a fork
    with (
        timed(f"heads of {len(SYSTEMS)} systems on {len(TASKS)} tasks, {seeds} seed(s); probes"),
        ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool,
    ):
        pending = [pool.submit(probe, out, checkpoint)]
        pending += [pool.submit(train_heads, *job) for job in jobs]
        for done in Bar("SUPERB job", len(pending)).over(as_completed(pending)):
            done.result()


def scores(out: Path) -> "pandas.DataFrame":
    """The test results under ``out``, with a column `system`, in the order of the tasks."""
    from analysis.tables import results_page

    frame = results_page.load([out / "superb"])
    names = {upstream: system for system, upstream in SYSTEMS.items()}
    frame["system"] = frame.upstream.map(names)
    return frame.sort_values("task", key=lambda column: column.map(list(TASKS).index))


def report(out: Path, seeds: int = 1) -> str:
    """Write table.md, convergence.png and, of one seed, report.html; returns the table."""
    from analysis.convergence import comparison
    from analysis.report import report as page
    from analysis.tables import results_page
    from mt4ssl_core.files import write_text

    table = results_page.markdown(scores(out), list(SYSTEMS))
    write_text(out / "table.md", table)
    stats = json.loads((out / "labels" / "train.stats.json").read_text())
    references = {
        "offline/loss": (stats["entropy_nats"], "entropy of the labels"),
        "offline/accuracy": (stats["top_share"], "most frequent label"),
    }
    comparison.plot({"MT4SSL": out / "pretrain"}, out / "convergence.png", references)
    if seeds == 1:  # a report shows one score per system and task
        page.report(out, names=["mt4ssl (demo)"])
    return table


def run(out: Path, seeds: int = 1, updates: int | None = None, corpora_seed: int = 0) -> None:
    """All steps but the report."""
    import mini_superb

    with timed("mini_superb: synthesised corpora"):
        corpora = mini_superb.make(out / "mini_superb", list(TASKS), seed=corpora_seed)
    checkpoint = learn(out, heard(out, corpora), updates)
    score(out, corpora, checkpoint, seeds)


def demo(out: Path, seeds: int = 1, updates: int | None = None) -> None:
    """Run all steps and print the table."""
    started = time.perf_counter()
    run(out, seeds, updates)
    table = report(out, seeds)
    made = ["table.md", "convergence.png", *(["report.html"] if seeds == 1 else [])]
    print(f"\n{table}\n{', '.join(str(out / name) for name in made)}")
    print(f"{time.perf_counter() - started:.0f} s in all")
