import dataclasses

import pytest
import torch
from superb_data import TINY, save_checkpoint, tiny_checkpoint
from torch import nn

from upstream.expert import UpstreamExpert
from upstream.memory import Memory, Remembering


class Counting(UpstreamExpert):
    encoded = 0

    def forward(self, wavs):
        self.encoded += len(wavs)
        return super().forward(wavs)


def waves(*sizes):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(size, generator=generator) for size in sizes]


def roomy():
    memory = Memory()
    memory.limit = 1 << 20
    return memory


def test_features_are_the_same_and_encoded_once():
    model = Counting(str(tiny_checkpoint()))
    remembering = Remembering(model, "mt4ssl abc", roomy())
    batch = waves(16000, 400, 880, 8160, 15999)
    with torch.no_grad():
        expected = model(batch)["hidden_states"]
        model.encoded = 0
        for order in ([0, 1, 2, 3, 4], [4, 1], [3, 3, 2]):
            found = remembering([batch[i] for i in order])["hidden_states"]
            for row, i in enumerate(order):
                kept = max(1, round(len(batch[i]) / 320))
                for a, b in zip(found, expected, strict=True):
                    assert torch.allclose(a[row, :kept], b[i, :kept], atol=1e-5)
    assert model.encoded == 5
    assert remembering.get_downsample_rates("hidden_states") == 320


def test_other_upstreams_do_not_share():
    memory = roomy()
    (wave,) = waves(4000)
    long = "mt4ssl " + 64 * "x"
    for identity in ("mt4ssl abc", "mt4ssl def", f"{long} a.yaml", f"{long} b.yaml"):
        model = Counting(str(tiny_checkpoint()))
        Remembering(model, identity, memory)([wave])
        assert model.encoded == 1


def test_memory_forgets_what_was_not_asked_for_longest():
    memory = Memory()
    memory.limit = 3 * 40
    for name in (b"a", b"b", b"c"):
        memory.put(name, torch.zeros(10))
    memory.get(b"a")
    memory.put(b"d", torch.zeros(10))
    assert memory.get(b"b") is None
    assert memory.get(b"a") is not None
    assert memory.size == 120
    memory.put(b"huge", torch.zeros(100))
    assert memory.get(b"huge") is None


def test_an_upstream_whose_features_may_depend_on_the_batch_is_refused():
    with pytest.raises(ValueError, match="--reuse-features"):
        Remembering(nn.Identity(), "wav2vec2 None", Memory())


def test_an_encoder_that_does_not_isolate_padding_is_refused(tmp_path):
    cfg = dataclasses.replace(TINY, isolate_padding=False)
    model = UpstreamExpert(str(save_checkpoint(tmp_path / "a.pt", cfg)))
    with pytest.raises(ValueError, match=r"isolate_padding.*leave the option out"):
        Remembering(model, "mt4ssl abc", Memory())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_features_of_a_gpu_are_kept_in_the_machines_memory():
    memory = roomy()
    remembering = Remembering(Counting(str(tiny_checkpoint())).cuda(), "mt4ssl abc", memory)
    batch = [wave.cuda() for wave in waves(4000, 8000)]
    first, second = (remembering(batch)["last_hidden_state"] for _ in range(2))
    assert first.is_cuda and second.is_cuda
    assert torch.equal(first, second)
    assert not any(kept.is_cuda for kept in memory._kept.values())
    assert remembering.model.encoded == 2
