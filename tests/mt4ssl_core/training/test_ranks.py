"""What all processes share, and what each has for itself; what never changes in validation."""

import hashlib
import os
import subprocess
import sys

import pytest
import ranks
import torch
import toy

from mt4ssl_core.checkpoints import checkpoint
from mt4ssl_core.distributed import World
from mt4ssl_core.model.mt4ssl import MT4SSL
from mt4ssl_core.training import validation
from mt4ssl_core.training.loaders import endless, open_data
from mt4ssl_core.training.pretrain import pretrain
from mt4ssl_core.training.progress import Progress
from mt4ssl_core.training.state import Training

RECORDED = """
import hashlib, sys
from pathlib import Path
from mt4ssl_core import config
from mt4ssl_core.training import pretrain as loop

train, seed, seeds = loop._train, loop.seed_dropout, []

def digest(state):
    values = hashlib.sha256()
    for name, value in sorted(state.items()):
        values.update(name.encode() + value.numpy().tobytes())
    return values.hexdigest()

def seeded(*numbers):
    seeds.append(numbers)
    seed(*numbers)

def trained(run):
    train(run)
    training = run.training
    moments = training.optimizer.state_dict()["state"]
    flat = {f"{n}.{key}": value for n, part in moments.items() for key, value in part.items()}
    said = f"{digest(training.model.state_dict())} {digest(flat)} {seeds}"
    Path(f"{sys.argv[1]}.{training.world.rank}").write_text(said)

loop._train, loop.seed_dropout = trained, seeded
loop.pretrain(config.load("tiny", sys.argv[2:]))
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return toy.corpus(tmp_path_factory.mktemp("corpus"))


def test_ranks_stay_equal_with_layerdrop_and_drop_by_their_own_seeds(data, tmp_path):
    words = toy.overrides(
        data, tmp_path / "run", encoder__layerdrop=0.5, encoder__layers=4, optim__max_updates=4,
        run__validate_every=0, data__batch_seconds=3.0,
    )  # fmt: skip
    script = tmp_path / "recorded.py"
    script.write_text(RECORDED)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(toy.ROOT)}
    done = subprocess.run(
        [*launch, str(script), str(tmp_path / "said"), *words],
        env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = ((tmp_path / f"said.{rank}").read_text().split(" ", 2) for rank in (0, 1))
    assert first[:2] == second[:2]  # parameters and buffers; moments of the optimiser
    assert first[2] == str([(1, update, 0) for update in range(4)])
    assert second[2] == str([(1, update, 1) for update in range(4)])


def test_validation_has_the_same_masks_and_crops_every_time(data, tmp_path, monkeypatch):
    losses_of, seen = validation.losses_of, {}

    def watched(model, batch, cfg, world, step):
        both = batch.mask.numpy().tobytes() + batch.waves.numpy().tobytes()
        seen.setdefault(step, []).append((batch.ids, hashlib.sha256(both).hexdigest()))
        return losses_of(model, batch, cfg, world, step)

    monkeypatch.setattr(validation, "losses_of", watched)
    changes = {"data__max_seconds": 0.9, "data__valid_share": 0.3, "run__validate_every": 5}
    pretrain(toy.configuration(data, tmp_path / "run", optim__max_updates=15, **changes))
    assert list(seen) == [5, 10, 15] and seen[5] == seen[10] == seen[15]


@pytest.mark.parametrize(
    ("before", "after", "accumulate", "batches"),
    [
        (2, 2, 2, None),
        (2, 1, 4, "4, as before"),
        (2, 4, 1, "4, as before"),
        (2, 1, 2, "4 -> 2, with the same learning rate; optim.accumulate=4 keeps 4"),
        (2, 3, 2, "4 -> 6, with the same learning rate"),
    ],
)
def test_another_number_of_processes_goes_on_and_says_what_an_update_is(
    data, tmp_path, before, after, accumulate, batches
):
    def world(size):
        return World(0, size, torch.device("cpu"))

    then = Training(toy.configuration(data, tmp_path / "run", optim__accumulate=2), world(before))
    then.progress.update, then.progress.train_data = 7, "data"
    then.progress.earlier, then.progress.batches = 1, 3
    cfg = toy.configuration(data, tmp_path / "run", optim__accumulate=accumulate)
    now = Training(cfg, world(after))
    said = now.resume(then.state_dict(), tmp_path) + now.meet_data("data", None)
    progress = now.progress
    if batches is None:
        assert said == [] and (progress.earlier, progress.batches) == (1, 3)
        return
    dropout = "dropout is drawn per process, and differs from here on"
    expected = [f"processes: 2 -> {after}; {dropout}", f"batches per update: {batches}"]
    assert [line for line in said if "optim.accumulate:" not in line] == expected
    assert (progress.update, progress.earlier, progress.batches) == (7, 1 + 2 * 3, 0)
    assert Training(cfg, now.world).resume(now.state_dict(), tmp_path) == []  # said once


def test_each_batch_of_an_epoch_is_used_once_by_changing_numbers_of_processes(data, tmp_path):
    cfg = toy.configuration(data, tmp_path / "run", data__batch_seconds=2.0)
    model = MT4SSL(cfg)

    def loaders(size):
        found = [open_data(cfg, model, World(0, 1, torch.device("cpu")))[0] for _ in range(size)]
        for rank, loader in enumerate(found):
            loader.rank, loader.world_size = rank, size
        return found

    alone = [batch.ids for batch in loaders(1)[0].batches(0)]
    progress, used = Progress(processes=2), []
    for size, rounds in ((2, 3), (1, 2), (3, 1), (4, 100)):
        if size != progress.processes:
            progress.share_among(size)
        found = [endless(loader, progress) for loader in loaders(size)]
        for _ in range(rounds):
            given = [next(batches) for batches in found]
            if given[0][0].epoch:
                break
            used += [batch.ids for batch, _ in given if batch.ids]
            progress.consume(0, given[0][1])
    assert used == alone and len(alone) > 12
    progress.consume(1, 1)
    assert progress.earlier == 0


def test_resuming_on_one_process_with_twice_the_batches_learns_the_same(data, tmp_path):
    """Two processes for two updates, then one: equal to one throughout, but for dropout."""
    shared = {
        "encoder__dropout": 0.0, "encoder__attention_dropout": 0.0, "encoder__layerdrop": 0.0,
        "run__validate_every": 0, "data__batch_seconds": 2.0, "optim__warmup": 0.0,
        "optim__hold": 1.0, "optim__decay": 0.0,
    }  # fmt: skip
    words = toy.overrides(data, tmp_path / "cut", **shared, optim__max_updates=2)
    said, codes = ranks.together((2, ["pretrain", "tiny", *words]))
    assert codes == [[0, 0]], said
    more = {"optim__accumulate": 2, "optim__max_updates": 5, **shared}
    cut = checkpoint.load(pretrain(toy.configuration(data, tmp_path / "cut", **more)))
    whole = checkpoint.load(pretrain(toy.configuration(data, tmp_path / "whole", **more)))
    for key, value in whole["encoder"].items():
        assert (cut["encoder"][key] - value).abs().max() <= 1e-5, key
    assert cut["progress"]["epoch"] == 0 and cut["progress"]["earlier"] == 4
