"""A recogniser: an encoder and a linear layer whose outputs are the tokens of CTC."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mt4ssl_core.data.vocabulary import Vocabulary
from mt4ssl_core.model.encoder import Encoder


class CTCModel(nn.Module):
    """Waveforms in, a score per frame and token out (Baevski et al. 2020, section 4.2).

    Attributes:
        encoder: its last hidden state is what the head hears.
        head: the linear layer, drawn as fairseq draws it, but for the blank's bias.
        vocabulary: of the head's outputs.
        held_out_wer: lowest word error rate on the speech held out of its fine-tuning, a fraction;
            None where it is not known.
    """

    held_out_wer: float | None = None

    def __init__(
        self,
        encoder: Encoder,
        vocabulary: Vocabulary,
        final_dropout: float = 0.0,
        blank_bias: float = 0.0,
    ) -> None:
        super().__init__()
        self.encoder, self.vocabulary = encoder, vocabulary
        self.dropout = nn.Dropout(final_dropout)
        self.head = nn.Linear(encoder.dim, len(vocabulary))
        nn.init.xavier_uniform_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        with torch.no_grad():
            self.head.bias[vocabulary.blank] = blank_bias

    def forward(
        self,
        waves: Tensor,
        lengths: Tensor,
        mask: Tensor | None = None,
        channels: Tensor | None = None,
        frozen: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """(B, N) waveforms with (B,) valid samples -> logits (B, T, V) and (B,) valid frames.

        Waveforms are expected as `Encoder.prepare` makes them. ``mask`` (B, T) bool hides frames,
        ``channels`` (B, D) bool sets channels of all frames to zero; ``frozen``: the encoder gets
        no gradient.
        """
        if not len(waves):  # nothing could be read
            return self.head(waves.new_zeros(0, 1, self.encoder.dim)), lengths
        with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
            encoded = self.encoder(waves, lengths, mask, channels)
        return self.head(self.dropout(encoded.output)), encoded.lengths


def ctc_losses(
    logits: Tensor, frames: Tensor, targets: Tensor, sizes: Tensor, blank: int
) -> Tensor:
    """CTC's loss of each utterance (B,), in float32; zero where no path fits, as fairseq's
    ``zero_infinity``.

    logits (B, T, V) with (B,) valid frames; targets (B, L) with (B,) valid tokens; these numbers
    belong on the CPU, where torch wants them (else it waits for a GPU).
    """
    scores = F.log_softmax(logits.float(), dim=-1).transpose(0, 1)  # (T, B, V)
    return F.ctc_loss(
        scores, targets, frames, sizes, blank=blank, reduction="none", zero_infinity=True
    )
