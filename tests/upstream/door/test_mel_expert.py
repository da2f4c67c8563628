from dataclasses import replace

import pytest
import superb_data
import torch

from mt4ssl_core.model.encoder import Encoder
from upstream.door.expert import UpstreamExpert


@pytest.mark.parametrize(("stack", "hop"), [(2, 320), (4, 640)])
def test_s3prl_gets_as_many_frames_as_are_foretold(stack, hop):
    encoder = Encoder(replace(superb_data.TINY, frontend="mel", mel_stack=stack))
    expert = UpstreamExpert(encoder=encoder).eval()
    assert expert.get_downsample_rates("hidden_states") == hop
    for samples in (100, 400, 1039, 1040, 1041, 1360, 16000, 16321):
        with torch.no_grad():
            states = expert([torch.randn(samples)])["hidden_states"]
        assert {state.shape[1] for state in states} == {expert.frames(samples)}
        assert expert.frames(samples) >= round(samples / hop)
