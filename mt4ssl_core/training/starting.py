"""Where a run begins: alone in its folder; anew, from other weights, or where a checkpoint is."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mt4ssl_core.checkpoints import checkpoint, convert
from mt4ssl_core.checkpoints.damage import remedy
from mt4ssl_core.checkpoints.foreign import hub_models
from mt4ssl_core.distributed import World
from mt4ssl_core.files import check_out, reading, refuse_others, remove_leftovers
from mt4ssl_core.locks import lock
from mt4ssl_core.training import skipping
from mt4ssl_core.training.journal import LOG
from mt4ssl_core.training.resuming import Resumable
from mt4ssl_core.training.saving import LAST, PREVIOUS, Saver, whole_ones
from mt4ssl_core.training.state import Training

LOCK = "run.lock"
# what a run has written before the first line of its log, or `mt4ssl submit` has
_BEFORE_LOG = (
    *(LOCK, f"{LOCK}.takeover", "config.yaml", skipping.NAME, "tensorboard"),
    *("wandb", "wandb_id", "slurm", "slurm.json"),
)


@contextmanager
def sole_run(folder: Path, world: World) -> Iterator[None]:
    """Hold ``folder`` while the body runs, and remove what killed runs left half-written in it.

    Folders made for it are removed again if they stay empty.

    Raises:
        ValueError, OSError: another run has it, or it cannot be made; on every process.
    """
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    with ExitStack() as held:

        def take() -> None:
            check_out(folder, "run.out")
            held.callback(_remove_empty, new)
            held.enter_context(lock(folder / LOCK, f"the run in {folder}"))
            remove_leftovers(folder, all_hosts=True)

        world.on_main(take)
        yield


def _remove_empty(folders: list[Path]) -> None:
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


def begin(training: Training, folder: Path, chosen: str | None) -> tuple[Saver, list[str]]:
    """Bring ``training`` to where the run in ``folder`` goes on; returns also what to say of it.

    chosen: the checkpoint in ``folder`` to go on from instead of last.pt.

    Raises:
        ValueError: a checkpoint that cannot be used; names the whole ones beside it.
    """
    run = training.cfg.run
    found = find_checkpoint(type(training), folder, chosen)
    if found is not None:
        return resume(training, folder, found)
    if run.continue_from is not None:
        return Saver(training, folder), _continue(training, Path(run.continue_from))
    if run.init_from is not None:
        origin = Path(run.init_from)
        with reading(origin, "give another checkpoint"):
            training.load_weights(convert.load_any(origin), origin)
        named = hub_models.origin(hub_models.local(run.init_from)) or origin  # with its revision
        return Saver(training, folder), [f"started from the weights of {named}"]
    return Saver(training, folder), []


@dataclass(frozen=True)
class Found:
    """The checkpoint in a run's folder that it goes on from; its last one, if nothing is said."""

    path: Path
    state: dict[str, Any]
    is_last: bool


def find_checkpoint(kind: type[Resumable], folder: Path, chosen: str | None) -> Found | None:
    """Read the checkpoint of a run of this kind that the run in ``folder`` goes on from, if any.

    Raises:
        ValueError: one that cannot be used; names the whole ones beside it. Without any, as of
            `check_new`.
    """
    last = folder / LAST
    if chosen is None and not last.exists():
        if (folder / PREVIOUS).exists():
            raise ValueError(
                f"{folder}: {PREVIOUS} without {LAST}; {whole_ones(folder, last, kind.command)}, "
                "or give another run.out to start anew"
            )
        check_new(folder)
        return None
    path = last if chosen is None else _in_folder(folder, chosen)
    try:
        with reading(path, "it is damaged"):
            state = checkpoint.load(path)
    except ValueError as error:
        raise _with_whole_ones(error, folder, path, kind) from error
    kind.check_kind(state, path)
    try:
        with reading(path, "it is damaged"):
            kind.check(state, path)
    except ValueError as error:
        raise _with_whole_ones(error, folder, path, kind) from error
    return Found(path, state, is_last=chosen is None)


def check_new(folder: Path) -> None:
    """See that a run may begin in a folder: it is empty, or what a killed run left is there, or a
    ``.log`` to which somebody sends what the run says.

    Raises:
        ValueError: it holds something else.
    """
    own = {*_BEFORE_LOG, *(path.name for path in folder.glob("*.log"))}
    refuse_others(f"run.out {folder}", folder, LOG, own)


def _with_whole_ones(
    error: ValueError, folder: Path, path: Path, kind: type[Resumable]
) -> ValueError:
    problem = str(error).removesuffix(f"; {remedy(path)}")
    return ValueError(f"{problem}; {whole_ones(folder, path, kind.command)}")


def resume(training: Resumable, folder: Path, found: Found) -> tuple[Saver, list[str]]:
    """Go on from the checkpoint that was found; returns also what to say of it."""
    path = found.path
    with reading(path, "it is damaged"):
        changed = training.resume(found.state, path)
    keep_previous = found.is_last or checkpoint.is_whole(folder / LAST)
    said = [f"resumed from {path} at update {training.progress.update}", *changed]
    return Saver(training, folder, keep_previous), said


def _in_folder(folder: Path, chosen: str) -> Path:
    path = folder / chosen
    if not path.exists() and Path(chosen).exists():
        path = Path(chosen)
    if path.resolve().parent != folder.resolve():
        raise ValueError(
            f"--from {chosen}: not in {folder}; run.continue_from={chosen} starts a new run from it"
        )
    return path


def _continue(training: Training, origin: Path) -> list[str]:
    """Go on with a run that is elsewhere, or fairseq's; the lowest held-out loss begins anew."""
    with reading(origin, "give another checkpoint"):
        state: dict[str, Any] = convert.load_any(origin)
        if state.get("optimizer") is None:
            _take_by_name(training, state, origin)
            changed = []
        else:
            training.check(state, origin)
            changed = training.resume(state, origin)
    progress, most = training.progress, training.cfg.optim.max_updates
    progress.best = None
    if progress.update >= most:
        raise ValueError(
            f"run.continue_from: {origin} has done {progress.update} updates, optim.max_updates is "
            f"{most}; raise it"
        )
    return [f"goes on from {origin} at update {progress.update}", *changed]


def _take_by_name(training: Training, state: dict[str, Any], origin: Path) -> None:
    if not state.get("optimizer_by_name"):
        raise ValueError(
            f"{origin}: holds no state of the optimiser that could go on; run.init_from={origin} "
            "takes the weights alone"
        )
    training.load_weights(state, origin)
    training.take_moments(state["optimizer_by_name"], origin)
    training.take_progress(state["progress"], origin)
