"""Beam search for the translation of highest mean log-probability per symbol."""

import math
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch.nn import functional as F


@dataclass
class BeamSearchSettings:
    """Of the search; the names are fairseq's."""

    beam: int = 5
    max_len_a: float = 0.0  # longest output: max_len_a * source frames + max_len_b symbols
    max_len_b: int = 200
    min_len: int = 1  # without </s>
    lenpen: float = 1.0  # above 1 favours longer outputs
    unkpen: float = 0.0  # above 0 makes <unk> rarer
    unnormalized: bool = False  # compare sums, not means

    @staticmethod
    def of(given: dict[str, Any]) -> "BeamSearchSettings":
        """Read s3prl's ``generatorrc``.

        Raises:
            ValueError: a setting that is not known here.
        """
        known = [field.name for field in fields(BeamSearchSettings)]
        if unknown := [name for name in given if name not in known]:
            raise ValueError(
                f"generatorrc: {', '.join(unknown)} not known here; known are {', '.join(known)}; "
                "leave it out, or install fairseq"
            )
        return BeamSearchSettings(**given)


class BeamSearch:
    """Find translations with a model that has an ``encoder`` and a ``decoder``.

    In each step every sentence's ``beam`` hypotheses are continued by every symbol. Of the best
    2 * beam continuations, those among the best ``beam`` that end in </s> are complete, and the
    best ``beam`` of the others live on. A sentence is done when ``beam`` hypotheses are complete.
    """

    def __init__(self, dictionary: Any, settings: BeamSearchSettings) -> None:
        self.pad, self.unk, self.eos = dictionary.pad(), dictionary.unk(), dictionary.eos()
        self.settings = settings
        self.beam = min(settings.beam, len(dictionary) - 1)  # <pad> is never chosen

    @torch.no_grad()
    def generate(self, models: list[Any], sample: dict[str, Any]) -> list[list[dict[str, Any]]]:
        """Return for every sentence its hypotheses, best first.

        Each has ``tokens`` (N,), which ends in </s>, and ``score``. ``sample["net_input"]`` has
        ``src_tokens`` (B, T, D) and ``src_lengths`` (B,).
        """
        (model,) = models
        model.eval()
        source = sample["net_input"]["src_tokens"]
        longest = self._longest(model, source.shape[1])
        encoded = model.encoder(source, sample["net_input"]["src_lengths"])
        rows = torch.arange(len(source), device=source.device).repeat_interleave(self.beam)
        encoded = model.encoder.reorder_encoder_out(encoded, rows)
        return self._search(model, encoded, len(source), longest, source.device)

    def _longest(self, model: Any, frames: int) -> int:
        asked = int(self.settings.max_len_a * frames + self.settings.max_len_b)
        longest = min(asked, model.max_decoder_positions() - 1)
        if longest < self.settings.min_len:
            raise ValueError(
                f"generatorrc: outputs of at most {longest} symbols, but min_len is "
                f"{self.settings.min_len}; raise max_len_b"
            )
        return longest

    def _search(
        self, model: Any, encoded: dict[str, Any], count: int, longest: int, device: torch.device
    ) -> list[list[dict[str, Any]]]:
        done: list[list[dict[str, Any]]] = [[] for _ in range(count)]
        sentences = torch.arange(count, device=device)  # those not done yet
        tokens = torch.full((count, self.beam, 1), self.eos, device=device)
        scores = torch.zeros(count, self.beam, device=device)
        state: dict[Any, Any] = {}
        for step in range(longest + 1):
            output = model.decoder(tokens.flatten(0, 1), encoded, incremental_state=state)
            lprobs = model.get_normalized_probs(output, log_probs=True)[:, -1]
            lprobs = self._allowed(lprobs, step, longest).view(*scores.shape, -1)
            ranked, symbols, beams = self._continuations(lprobs, scores, step)  # (B, 2 * beam)
            ends = (symbols == self.eos) & (ranked > -math.inf)
            self._complete(done, sentences, tokens, ranked, beams, ends)
            lives = ends.long().argsort(dim=1, stable=True)[:, : self.beam]  # (B, beam), by rank
            kept = torch.tensor([len(done[s]) < self.beam for s in sentences.tolist()])
            kept = kept.nonzero()[:, 0].to(device)
            if step == longest or not len(kept):
                break
            lives, beams = lives[kept], beams[kept]
            scores, symbols = ranked[kept].gather(1, lives), symbols[kept].gather(1, lives)
            rows = kept[:, None] * self.beam + beams.gather(1, lives)  # (B', beam)
            tokens = torch.cat([tokens.flatten(0, 1)[rows], symbols[:, :, None]], 2)
            same = len(kept) == len(sentences)
            model.decoder.reorder_incremental_state(state, rows.flatten(), same)
            if not same:
                encoded = model.encoder.reorder_encoder_out(encoded, rows.flatten())
                sentences = sentences[kept]
        return [sorted(found, key=lambda h: h["score"], reverse=True) for found in done]

    def _allowed(self, lprobs: torch.Tensor, step: int, longest: int) -> torch.Tensor:
        """Forbid <pad>, </s> before ``min_len`` symbols, and all but </s> at the longest."""
        lprobs = lprobs.nan_to_num(nan=-math.inf, neginf=-math.inf)
        lprobs[:, self.pad] = -math.inf
        lprobs[:, self.unk] -= self.settings.unkpen
        if step >= longest:
            others = torch.arange(lprobs.shape[1], device=lprobs.device) != self.eos
            lprobs[:, others] = -math.inf
        elif step < self.settings.min_len:
            lprobs[:, self.eos] = -math.inf
        return lprobs

    def _continuations(
        self, lprobs: torch.Tensor, scores: torch.Tensor, step: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return score, symbol and hypothesis (B, 2 * beam) of the best continuations."""
        vocabulary = lprobs.shape[2]
        if step == 0:
            lprobs, scores = lprobs[:, :1], scores[:, :1]  # all hypotheses are the same yet
        totals = (lprobs + scores[:, :, None]).flatten(1)  # (B, beam * vocabulary)
        best = totals.topk(min(2 * self.beam, totals.shape[1]))
        lacking = (0, 2 * self.beam - best.values.shape[1])  # of a small vocabulary's first step
        values = F.pad(best.values, lacking, value=-math.inf)
        indices = F.pad(best.indices, lacking)
        return values, indices % vocabulary, indices // vocabulary

    def _complete(
        self,
        done: list[list[dict[str, Any]]],
        sentences: torch.Tensor,
        tokens: torch.Tensor,
        ranked: torch.Tensor,
        beams: torch.Tensor,
        ends: torch.Tensor,
    ) -> None:
        """Put hypotheses that end now to ``done``, at most ``beam`` for a sentence."""
        length = tokens.shape[2]  # </s> at the end counts, that at the beginning does not
        norm = 1.0 if self.settings.unnormalized else length**self.settings.lenpen
        for row, rank in ends[:, : self.beam].nonzero().tolist():
            found = done[int(sentences[row])]
            if len(found) < self.beam:
                said = tokens[row, beams[row, rank], 1:]
                whole = torch.cat([said, said.new_tensor([self.eos])])
                found.append({"tokens": whole, "score": float(ranked[row, rank]) / norm})
