"""What an update reports of its batches, and how much it asks of torch."""

from types import SimpleNamespace

import pytest
import torch
import toy

from benchmarks.dispatching import Dispatched
from mt4ssl_core.data.batch import Batch
from mt4ssl_core.distributed import World
from mt4ssl_core.training import pretrain
from mt4ssl_core.training.journal import Meter
from mt4ssl_core.training.loaders import endless, open_data
from mt4ssl_core.training.state import Training
from mt4ssl_core.training.step import add_padding

CPU = torch.device("cpu")


@pytest.mark.parametrize("repeats", [1, 3])
@pytest.mark.parametrize("hop", [320, 640])
def test_the_share_that_is_hidden_is_of_the_encoders_own_frames(hop, repeats):
    lengths = torch.tensor([64_000, 32_000])
    batch = Batch(torch.zeros(2, 64_000), lengths, None, ["a", "b"], 0, 6.0, 8.0, [])
    mask = torch.zeros(2, 64_000 // hop, dtype=torch.bool)
    mask[0, : 16_000 // hop] = True
    mask = mask.repeat(repeats, 1)
    meter = Meter(CPU)
    model = SimpleNamespace(encoder=SimpleNamespace(hop=hop))
    add_padding(SimpleNamespace(training=SimpleNamespace(model=model), meter=meter), batch, mask)
    shares = {name: meter.total(name) / meter.total(f"{name} weight")
              for name in ("masked_share", "padding")}  # fmt: skip
    assert shares == pytest.approx({"masked_share": 1 / 6, "padding": 1 / 4})


def dispatched(corpus, folder, layers):
    """What the second update of a toy run dispatches, with padding and dropout."""
    changes = {"encoder__layers": layers, "encoder__layerdrop": 0.0, "data__valid_share": 0.0}
    training = Training(toy.configuration(corpus, folder, **changes), World(0, 1, CPU))
    training.model.train()
    loader, *_ = open_data(training.cfg, training.model, training.world)
    batches = endless(loader, training.progress)
    run = SimpleNamespace(training=training, wrapped=training.model, meter=Meter(CPU), requested=[])
    pretrain.update(run, [next(batches)], 100.0)
    training.progress.update, second = 1, next(batches)
    assert (second[0].lengths < second[0].waves.shape[1]).any()
    with Dispatched() as found:
        pretrain.update(run, [second], 100.0)
    return found


def test_an_update_dispatches_few_operators_and_reads_few_values(tmp_path):
    corpus = toy.corpus(tmp_path, utterances=8)
    two, four = (dispatched(corpus, tmp_path / "run", layers) for layers in (2, 4))
    each = (four.operators - two.operators) / 2
    assert each <= 140 and two.operators - 2 * each <= 500
    assert two.reads == four.reads <= 7  # of lengths, on the CPU
