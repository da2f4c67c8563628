"""What an update reports of its batches."""

from types import SimpleNamespace

import pytest
import torch

from mt4ssl_core.data.batch import Batch
from mt4ssl_core.training.journal import Meter
from mt4ssl_core.training.step import add_padding


@pytest.mark.parametrize("repeats", [1, 3])
@pytest.mark.parametrize("hop", [320, 640])
def test_the_share_that_is_hidden_is_of_the_encoders_own_frames(hop, repeats):
    lengths = torch.tensor([64_000, 32_000])
    batch = Batch(torch.zeros(2, 64_000), lengths, None, ["a", "b"], 0, 6.0, 8.0, [])
    mask = torch.zeros(2, 64_000 // hop, dtype=torch.bool)
    mask[0, : 16_000 // hop] = True
    mask = mask.repeat(repeats, 1)
    meter = Meter(torch.device("cpu"))
    model = SimpleNamespace(encoder=SimpleNamespace(hop=hop))
    add_padding(SimpleNamespace(training=SimpleNamespace(model=model), meter=meter), batch, mask)
    shares = {name: meter.total(name) / meter.total(f"{name} weight")
              for name in ("masked_share", "padding")}  # fmt: skip
    assert shares == pytest.approx({"masked_share": 1 / 6, "padding": 1 / 4})
