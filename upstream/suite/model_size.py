"""How large an upstream is, as SUPERB's leaderboard counts it.

Parameters are all of the module that s3prl loads. Multiply-accumulates (MACs) are the sum over 32
utterances of LibriSpeech test-clean, one at a time: of its 2,620 sorted by length every 82nd. The
leaderboard's profiler counts products of matrices, convolutions and, in the attention, also adding
the bias of its input projection, scaling the queries, masking, softmax (twice) and dropout. From
the lengths of these utterances the same count follows for any of our encoders without running it:
the published MACs of HuBERT and wav2vec 2.0, Base and Large, come out to the last digit.
"""

from typing import Any

from mt4ssl_core.config import EncoderConfig
from mt4ssl_core.data.mfcc import FFT
from mt4ssl_core.model.encoder import Encoder
from mt4ssl_core.model.mel_frames import MELS, STEP
from mt4ssl_core.settings.frames import num_frames
from upstream.door.expert import UpstreamExpert

# Samples of the 32 utterances: github.com/B06901052/DeepSpeed, testing/s3prl_profiling_test.py
UTTERANCES = (
    20560, 34560, 38480, 42560, 45600, 48720, 52000, 55120, 59120, 62720, 66400, 71200, 75200,
    78640, 82800, 87520, 92720, 98560, 104400, 111120, 118480, 125040, 132720, 142640, 154000,
    166720, 180880, 197920, 217920, 239280, 268160, 326000,
)  # fmt: skip


def params(model: Any) -> int:
    """Return how many parameters a module has."""
    return sum(parameter.numel() for parameter in model.parameters())


def macs(model: Any) -> int | None:
    """Return the leaderboard's MACs of an upstream; None where they are not known: not one of our
    encoders, or with WavLM's relative positions.
    """
    ours = isinstance(model, UpstreamExpert) and isinstance(model.encoder, Encoder)
    if not ours or model.encoder.cfg.relative_buckets:
        return None
    return sum(macs_of(model.encoder.cfg, samples) for samples in UTTERANCES)


def macs_of(cfg: EncoderConfig, samples: int) -> int:
    """Return the MACs of an utterance, as the leaderboard's profiler counts them."""
    frames, channels_in, total = _front_end(cfg, samples)
    d = cfg.dim
    total += frames * channels_in * d  # projection
    computed = frames + 1 - cfg.pos_conv_kernel % 2  # an even kernel gives a frame too many
    total += cfg.pos_conv_depth * computed * cfg.pos_conv_kernel * d * d // cfg.pos_conv_groups
    products = 4 * frames * d * d + 2 * frames * frames * d
    pairs = cfg.heads * frames * frames
    others = 3 * frames * d + frames * d + (3 + (cfg.attention_dropout > 0)) * pairs
    return total + cfg.layers * (products + others + 2 * frames * d * cfg.ffn_dim)


def _front_end(cfg: EncoderConfig, samples: int) -> tuple[int, int, int]:
    """Frames and channels that leave it, and its MACs: of log-mel those of the mel triangles."""
    if cfg.frontend == "mel":
        frames = num_frames(samples, STEP * cfg.mel_stack)
        return frames, MELS * cfg.mel_stack, num_frames(samples, STEP) * (FFT // 2 + 1) * MELS
    length, channels_in, total = samples, 1, 0
    for channels, kernel, stride in cfg.conv_layers:
        length = (length - kernel) // stride + 1
        total += length * kernel * channels_in * channels
        channels_in = channels
    return length, channels_in, total
