"""The speech-to-text transformer of fairseq: two convolutions, an encoder, a decoder."""

import math
from argparse import Namespace
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from upstream.fairseq_shim.layers import (
    DecoderLayer,
    EncoderLayer,
    MultiheadAttention,
    SinusoidalPositions,
    State,
)

PADDING = 1  # fairseq's number of <pad>; the encoder's positions count from it too

DEFAULTS: dict[str, Any] = {  # of architecture s2t_transformer
    "max_source_positions": 6000,
    "max_target_positions": 1024,
    "conv_kernel_sizes": "5,5",
    "conv_channels": 1024,
    "encoder_embed_dim": 512,
    "encoder_ffn_embed_dim": 2048,
    "encoder_layers": 12,
    "encoder_attention_heads": 8,
    "encoder_normalize_before": True,
    "decoder_layers": 6,
    "decoder_attention_heads": 8,
    "decoder_normalize_before": True,
    "dropout": 0.1,
    "activation_fn": "relu",
    "share_decoder_input_output_embed": False,
    "no_scale_embedding": False,
}
SAME_AS = {  # settings that follow another unless given
    "decoder_embed_dim": "encoder_embed_dim",
    "decoder_ffn_embed_dim": "encoder_ffn_embed_dim",
    "attention_dropout": "dropout",
    "activation_dropout": "dropout",
}
_SMALL = {
    "encoder_embed_dim": 256,
    "encoder_ffn_embed_dim": 2048,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
}


def base_architecture(args: Namespace) -> None:
    """Fill in what ``args`` leaves out.

    Raises:
        ValueError: a setting that is not known here.
    """
    known = {"arch", *DEFAULTS, *SAME_AS}
    if unknown := sorted(set(vars(args)) - known):
        raise ValueError(
            f"modelrc: {', '.join(unknown)} not known here; known are {', '.join(sorted(known))}; "
            "leave it out, or install fairseq"
        )
    if getattr(args, "activation_fn", "relu") not in ("relu", "gelu"):
        raise ValueError(f"modelrc.activation_fn is {args.activation_fn}; choose relu or gelu")
    for name, value in DEFAULTS.items():
        setattr(args, name, getattr(args, name, value))
    for name, other in SAME_AS.items():
        setattr(args, name, getattr(args, name, getattr(args, other)))


def small_architecture(args: Namespace) -> None:
    """Fill in what ``args`` leaves out with a narrower model."""
    for name, value in _SMALL.items():
        setattr(args, name, getattr(args, name, value))
    base_architecture(args)


ARCHITECTURES = {"s2t_transformer": base_architecture, "s2t_transformer_s": small_architecture}


def embedding(size: int, dim: int, padding_idx: int) -> nn.Embedding:
    """Return an embedding drawn with standard deviation dim**-0.5; padding is zero."""
    table = nn.Embedding(size, dim, padding_idx)
    nn.init.normal_(table.weight, std=dim**-0.5)
    nn.init.zeros_(table.weight[padding_idx])
    return table


class Subsampler(nn.Module):
    """Convolutions over time with stride 2, each followed by a gated linear unit.

    As in fairseq, frames of padding are not masked between them.
    """

    def __init__(self, inputs: int, channels: int, outputs: int, kernels: list[int]) -> None:
        super().__init__()
        before = [inputs, *[channels // 2] * (len(kernels) - 1)]
        after = [*[channels] * (len(kernels) - 1), 2 * outputs]
        self.conv_layers = nn.ModuleList(
            nn.Conv1d(i, o, k, stride=2, padding=k // 2)
            for i, o, k in zip(before, after, kernels, strict=True)
        )

    def get_out_seq_lens_tensor(self, in_seq_lens_tensor: torch.Tensor) -> torch.Tensor:
        """Return how many frames come out for numbers of frames going in."""
        lengths = in_seq_lens_tensor.clone()
        for _ in self.conv_layers:
            lengths = (lengths - 1).div(2, rounding_mode="floor") + 1
        return lengths

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Return (B, T', outputs) for frames (B, T, inputs)."""
        x = frames.transpose(1, 2)  # (B, inputs, T)
        for convolution in self.conv_layers:
            x = F.glu(convolution(x), 1)
        return x.transpose(1, 2)


class S2TEncoder(nn.Module):
    """Frames of an upstream to a quarter as many vectors."""

    def __init__(self, args: Namespace) -> None:
        super().__init__()
        dim = args.encoder_embed_dim
        self.dropout = args.dropout
        self.scale = 1.0 if args.no_scale_embedding else math.sqrt(dim)
        self.subsample = Subsampler(
            args.input_feat_per_channel * args.input_channels,
            args.conv_channels,
            dim,
            [int(size) for size in str(args.conv_kernel_sizes).split(",")],
        )
        self.embed_positions = SinusoidalPositions(dim, PADDING, args.max_source_positions)
        self.transformer_layers = nn.ModuleList(
            EncoderLayer(args) for _ in range(args.encoder_layers)
        )
        self.layer_norm = nn.LayerNorm(dim) if args.encoder_normalize_before else None

    def forward(self, src_tokens: torch.Tensor, src_lengths: torch.Tensor) -> dict[str, Any]:
        """Encode frames (B, T, inputs) of which the first ``src_lengths`` (B,) are true.

        Returns:
            ``encoder_out``: [(T', B, D)]; ``encoder_padding_mask``: [(B, T')], True on padding,
            or [] when there is none.
        """
        x = self.scale * self.subsample(src_tokens)
        lengths = self.subsample.get_out_seq_lens_tensor(src_lengths).to(x.device)
        padding = torch.arange(x.shape[1], device=x.device) >= lengths[:, None]  # (B, T')
        x = F.dropout(x + self.embed_positions(padding), self.dropout, self.training)
        for layer in self.transformer_layers:
            x = layer(x, ~padding[:, None, None])
        if self.layer_norm is not None:
            x = self.layer_norm(x)
        masks = [padding] if padding.any() else []
        return {"encoder_out": [x.transpose(0, 1)], "encoder_padding_mask": masks}

    def reorder_encoder_out(self, out: dict[str, Any], order: torch.Tensor) -> dict[str, Any]:
        """Return an output with row ``order[i]`` of the batch at row i."""
        return {
            "encoder_out": [x.index_select(1, order) for x in out["encoder_out"]],
            "encoder_padding_mask": [x.index_select(0, order) for x in out["encoder_padding_mask"]],
        }


class Decoder(nn.Module):
    """Symbols so far, and an encoder's output, to scores for the next symbol."""

    def __init__(self, args: Namespace, dictionary: Any, embed_tokens: nn.Embedding) -> None:
        super().__init__()
        dim = args.decoder_embed_dim
        self.dropout, self.limit = args.dropout, args.max_target_positions
        self.scale = 1.0 if args.no_scale_embedding else math.sqrt(dim)
        self.embed_tokens = embed_tokens
        self.embed_positions = SinusoidalPositions(dim, dictionary.pad(), args.max_target_positions)
        self.layers = nn.ModuleList(DecoderLayer(args) for _ in range(args.decoder_layers))
        self.layer_norm = nn.LayerNorm(dim) if args.decoder_normalize_before else None
        self.output_projection = nn.Linear(dim, len(dictionary), bias=False)
        if args.share_decoder_input_output_embed:
            self.output_projection.weight = embed_tokens.weight
        else:
            nn.init.normal_(self.output_projection.weight, std=dim**-0.5)

    def max_positions(self) -> int:
        """Return the longest output, in symbols."""
        return int(self.limit)

    def forward(
        self,
        prev_output_tokens: torch.Tensor,
        encoder_out: dict[str, Any],
        incremental_state: State | None = None,
    ) -> tuple[torch.Tensor, None]:
        """Score the symbols that follow ``prev_output_tokens`` (B, T): (B, T, vocabulary).

        With ``incremental_state``, which holds what is known of the symbols before, only the last
        symbol's are computed: (B, 1, vocabulary).
        """
        last_only = incremental_state is not None
        padding = prev_output_tokens == self.embed_tokens.padding_idx
        tokens = prev_output_tokens[:, -1:] if last_only else prev_output_tokens
        x = self.scale * self.embed_tokens(tokens) + self.embed_positions(padding, last_only)
        x = F.dropout(x, self.dropout, self.training)
        size = tokens.shape[1]
        past = torch.ones(size, size, dtype=torch.bool, device=x.device).tril()
        mask = None if last_only else past
        source = encoder_out["encoder_out"][0].transpose(0, 1)  # (B, S, D)
        masks = encoder_out["encoder_padding_mask"]
        source_mask = ~masks[0][:, None, None] if masks else None
        for layer in self.layers:
            x = layer(x, source, source_mask, mask, incremental_state)
        if self.layer_norm is not None:
            x = self.layer_norm(x)
        return self.output_projection(x), None

    @staticmethod
    def reorder_incremental_state(state: State, order: torch.Tensor, same_source: bool) -> None:
        """Put row ``order[i]`` at row i; ``same_source``: the encoder's outputs stay in place."""
        for module, (k, v) in state.items():
            assert isinstance(module, MultiheadAttention)
            if not (module.is_static and same_source):
                state[module] = (k.index_select(0, order), v.index_select(0, order))


class S2TTransformerModel(nn.Module):
    """Encoder and decoder."""

    def __init__(self, encoder: S2TEncoder, decoder: Decoder) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    @classmethod
    def build_model(cls, args: Namespace, task: Any) -> "S2TTransformerModel":
        """Return a new model for ``task.target_dictionary``; ``args`` must be complete."""
        symbols = task.target_dictionary
        table = embedding(len(symbols), args.decoder_embed_dim, symbols.pad())
        return cls(S2TEncoder(args), Decoder(args, symbols, table))

    def forward(
        self, src_tokens: torch.Tensor, src_lengths: torch.Tensor, prev_output_tokens: torch.Tensor
    ) -> tuple[torch.Tensor, None]:
        """Score every symbol of the target given those before it: (B, T, vocabulary)."""
        return self.decoder(prev_output_tokens, self.encoder(src_tokens, src_lengths))

    def get_normalized_probs(
        self, net_output: tuple[torch.Tensor, Any], log_probs: bool
    ) -> torch.Tensor:
        """Return (log) probabilities of a decoder's scores, in float32."""
        function = F.log_softmax if log_probs else F.softmax
        return function(net_output[0], -1, dtype=torch.float32)

    def max_decoder_positions(self) -> int:
        """Return the longest output, in symbols."""
        return self.decoder.max_positions()
