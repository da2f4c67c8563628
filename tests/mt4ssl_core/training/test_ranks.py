"""What all processes share, and what each has for itself; what never changes in validation."""

import hashlib
import os
import subprocess
import sys

import pytest
import torch
import toy

from mt4ssl_core.distributed import World
from mt4ssl_core.training import validation
from mt4ssl_core.training.pretrain import pretrain
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


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (2, 2)])
def test_another_number_of_processes_starts_the_epoch_again(data, tmp_path, before, after):
    cfg = toy.configuration(data, tmp_path / "run")
    then = Training(cfg, World(0, before, torch.device("cpu")))
    then.progress.update, then.progress.batches, then.progress.train_data = 7, 3, "data"
    now = Training(cfg, World(0, after, torch.device("cpu")))
    said = now.resume(then.state_dict(), tmp_path) + now.meet_data("data", None)
    if before == after:
        assert said == [] and now.progress.batches == 3
        return
    again = "the data order has changed: this epoch starts again"
    assert said == [f"processes: {before} -> {after}", again]
    assert (now.progress.update, now.progress.batches, now.progress.processes) == (7, 0, after)
    assert Training(cfg, now.world).resume(now.state_dict(), tmp_path) == []  # said once
