"""Pre-train several configs with several seeds on the same data, then compare how they converge."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.convergence import comparison, scoring_checks
from analysis.convergence.comparison import Scoring
from analysis.records import training_runs
from mt4ssl_core import config
from mt4ssl_core.bars import Bar
from mt4ssl_core.checkpoints import checkpoint
from mt4ssl_core.config import Config
from mt4ssl_core.files import check_out
from mt4ssl_core.settings.config_files import find_config
from mt4ssl_core.threads import cores
from mt4ssl_core.training.stopping import stop_requests
from upstream.suite import executors

COMMAND = (sys.executable, "-m", "mt4ssl_cli", "pretrain")
CHILD_LOG = "pretrain.log"
_SET_HERE = ("run.seed", "run.out")
_SHARED = (  # what all configs must have in common
    "optim.max_updates", "run.keep_every", "data.train", "data.valid", "data.valid_share",
    "data.min_seconds", "data.max_seconds", "data.batch_seconds",
)  # fmt: skip
_IMMATERIAL = {  # what a run that goes on may have had otherwise
    "run.out", "run.device", "run.log_every", "run.validate_every", "run.save_every",
    "run.loggers", "data.workers", "data.strict",
}  # fmt: skip
_PATHS = (
    "data.train", "data.valid", "data.labels", "data.valid_labels", "run.init_from",
    "run.continue_from",
)  # fmt: skip
_POLL = 0.5  # seconds
_PATIENCE = 120.0  # seconds for a run that is stopped to write its checkpoint


@dataclass(frozen=True)
class Planned:
    """A run of the study: DIR/GROUP/seedK."""

    group: str
    seed: int
    folder: Path
    cfg: Config
    words: tuple[str, ...]  # of `mt4ssl pretrain`

    @property
    def name(self) -> str:
        """GROUP/seedK."""
        return f"{self.group}/seed{self.seed}"


def study(
    configs: Sequence[str],
    seeds: int,
    out: str | Path,
    overrides: Sequence[str] = (),
    scoring: Scoring | None = None,
    jobs: int = 1,
) -> int:
    """Pre-train every config with every seed, score the checkpoints, draw and print the result.

    A run that is complete is not touched, an interrupted one goes on, and one that fails does not
    stop the others. The runs are DIR/NAME/seedK; all else is as `convergence.compare` writes it.

    Args:
        configs: YAML files or names of shipped configs; groups are called after them.
        seeds: how many; they are 1, 2, ...
        out: the folder DIR.
        overrides: dotted values for all configs.
        scoring: how checkpoints are scored.
        jobs: runs at the same time.

    Returns:
        0, or 1 when a run failed, or something could not be scored.

    Raises:
        ValueError: configs that cannot be compared, runs in ``out`` made under other settings, or
            a ``scoring`` that cannot be met; found before anything is trained.
        KeyboardInterrupt: a signal; every run has then written its checkpoint.
    """
    check_out(out)
    scoring_checks.check(scoring or Scoring())
    plans = plan(configs, seeds, Path(out), overrides)
    done = {item.name: updates_done(item) for item in plans}
    todo = [item for item in plans if done[item.name] < item.cfg.optim.max_updates]
    failed = train_runs(plans, todo, jobs) if todo else {}
    for name, why in failed.items():
        print(f"{name} failed: {why}", file=sys.stderr)
    finished = [item for item in plans if item.name not in failed]
    if not finished:
        raise ValueError("every run failed; correct what is named above and try again")
    labels = [item.group for item in finished]
    notes = [f"{name} failed and is left out: {why}" for name, why in failed.items()]
    folders, broken = [item.folder for item in finished], list[str]()
    print(comparison.compare(folders, out, labels, scoring, notes, broken))
    for line in broken:
        print(line, file=sys.stderr)
    print(f"{Path(out) / comparison.TABLE}, {Path(out) / comparison.JSON} and figures beside it")
    return 1 if failed or broken else 0


def study_of(words: Sequence[str], seeds: int, out: str | None, scoring: Scoring, jobs: int) -> int:
    """Do the study of some words: those with ``=`` change settings, the others are configs.

    Raises:
        ValueError: no folder to write to, or as `study`.
    """
    if out is None:
        raise ValueError("convergence study: give --out DIR, where the runs go")
    overrides = [word for word in words if "=" in word]
    configs = [word for word in words if "=" not in word]
    return study(configs, seeds, out, overrides, scoring, jobs)


def plan(
    names: Sequence[str], seeds: int, out: Path, overrides: Sequence[str] = ()
) -> list[Planned]:
    """Return the runs of a study: all configs with the first seed, then with the next.

    Raises:
        ValueError: no config, a name twice, or configs that cannot be compared.
    """
    if not names or seeds < 1:
        raise ValueError(f"{len(names)} config(s), {seeds} seed(s): expected at least one of each")
    for word in overrides:
        if word.partition("=")[0] in _SET_HERE:
            raise ValueError(f"{word}: a study sets {' and '.join(_SET_HERE)}; leave it out")
    paths = {}
    for name in names:
        path = find_config(name)
        if path.stem in paths:
            raise ValueError(f"{name}: two configs are called {path.stem}; rename one")
        paths[path.stem] = path
    plans = []
    for seed in range(1, seeds + 1):
        for group, path in paths.items():
            folder = out / group / f"seed{seed}"
            words = (*overrides, f"run.seed={seed}", f"run.out={folder}")
            cfg = config.load(path, words)
            plans.append(Planned(group, seed, folder, cfg, (str(path), *words)))
    _check({item.group: item.cfg for item in plans})
    return plans


def _check(found: dict[str, Config]) -> None:
    problems = []
    flat = {group: training_runs.dotted(config.to_dict(cfg)) for group, cfg in found.items()}
    for key in _SHARED:
        values = {group: values[key] for group, values in flat.items()}
        if len(Counter(map(str, values.values()))) > 1:
            listing = ", ".join(f"{group} {value}" for group, value in values.items())
            problems.append(f"{key} differs: {listing}; give {key}=... for all")
    for group, cfg in found.items():
        every, last = cfg.run.keep_every, cfg.optim.max_updates
        if not 0 < every <= last:
            problems.append(
                f"{group}: run.keep_every is {every}, so that no checkpoints are kept to be "
                f"scored; give run.keep_every=N, such as {max(1, last // 8)}"
            )
    if problems:
        raise ValueError("these runs cannot be compared:\n  " + "\n  ".join(problems))


def updates_done(item: Planned) -> int:
    """Return how many updates a run has in its last checkpoint; 0 where there is none.

    Raises:
        ValueError: it was trained under other settings.
    """
    last = item.folder / training_runs.LAST
    if not last.is_file():
        return 0
    state = checkpoint.load(last)
    there = training_runs.dotted(state["config"])
    asked = training_runs.dotted(config.to_dict(item.cfg))
    differ = [
        f"{key}: {there.get(key)!r} there, {asked.get(key)!r} now"
        for key in sorted((there.keys() | asked.keys()) - _IMMATERIAL)
        if _plain(key, there.get(key)) != _plain(key, asked.get(key))
    ]
    if differ:
        raise ValueError(
            f"{last} was made under other settings:\n  "
            + "\n  ".join(differ)
            + "\n  give the same, "
            f"another --out, or remove {item.folder}"
        )
    return int(state["progress"]["update"])


def _plain(key: str, value: Any) -> Any:
    return str(Path(value).resolve()) if key in _PATHS and value else value


def train_runs(plans: Sequence[Planned], todo: Sequence[Planned], jobs: int = 1) -> dict[str, str]:
    """Pre-train the runs of ``todo``, each in a process of its own; return why which ones failed.

    Raises:
        ValueError: less than one run at the same time.
        KeyboardInterrupt: SIGINT or SIGTERM; the runs have stopped, with a checkpoint.
    """
    if jobs < 1:
        raise ValueError(f"--jobs {jobs}: how many runs go at the same time; give 1 or more")
    waiting, slots = list(todo), list(range(jobs))
    running: dict[str, tuple[Planned, subprocess.Popen, int]] = {}
    failed: dict[str, str] = {}
    total = sum(item.cfg.optim.max_updates for item in plans)
    before = sum(map(_logged, plans))
    with (
        stop_requests() as stopped,
        Bar("update", total, done=before) as bar,
    ):
        try:
            while (waiting or running) and not stopped:
                while waiting and slots:
                    item, slot = waiting.pop(0), slots.pop(0)
                    running[item.name] = (item, _start(item, slot, jobs), slot)
                for name, (item, process, slot) in list(running.items()):
                    if process.poll() is not None:
                        del running[name]
                        slots.append(slot)
                        if process.returncode:
                            failed[name] = _why(item, process.returncode)
                over = len(plans) - len(waiting) - len(running)
                bar.show(runs=f"{over}/{len(plans)}", on=", ".join(running))
                bar.advance(max(0, sum(map(_logged, plans)) - bar.done))
                if running:
                    time.sleep(_POLL)
        finally:
            _stop([process for _, process, _ in running.values()])
    if stopped:
        raise KeyboardInterrupt
    return failed


def _start(item: Planned, slot: int, jobs: int) -> subprocess.Popen:
    """Start a run."""
    item.folder.mkdir(parents=True, exist_ok=True)
    with open(item.folder / CHILD_LOG, "a", encoding="utf-8") as log:
        return subprocess.Popen(
            [*COMMAND, *item.words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=_environment(item.cfg, slot, jobs),
            start_new_session=True,  # Ctrl-C is for the study, which stops its runs
        )


def _environment(cfg: Config, slot: int, jobs: int) -> dict[str, str]:
    """A fair share of the cores, a GPU of its own where there are several."""
    here = str(Path(training_runs.__file__).parents[2])
    found = {**os.environ, "OMP_NUM_THREADS": str(max(1, cores() // jobs))}
    found["PYTHONPATH"] = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
    gpus = executors.visible_gpus() if cfg.run.device in ("auto", "cuda") else []
    if len(gpus) > 1:
        found["CUDA_VISIBLE_DEVICES"] = gpus[slot % len(gpus)]
    return found


def _stop(processes: Sequence[subprocess.Popen]) -> None:
    """End the processes; each writes a checkpoint first."""
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + _PATIENCE
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _logged(item: Planned) -> int:
    """The last update in a run's log, read from its end."""
    with contextlib.suppress(FileNotFoundError):
        for line in _last_lines(item.folder / training_runs.LOG):
            with contextlib.suppress(json.JSONDecodeError, KeyError, TypeError):
                return int(json.loads(line)["update"])
    return 0


def _why(item: Planned, code: int) -> str:
    path = item.folder / CHILD_LOG
    said = next(filter(None, map(str.strip, _last_lines(path))), "")
    return f"exit code {code}: {said}; see {path}"


def _last_lines(path: Path, size: int = 8192) -> Iterator[str]:
    """Lines of the end of a file, the last one first."""
    with open(path, "rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - size))
        text = file.read().decode(errors="replace")
    yield from reversed(text.replace("\r", "\n").splitlines())
