"""Transcribed speech for a run: which utterances, the tokens of each, and in which batches."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from lhotse.cut import Cut
from torch import Tensor

from mt4ssl_core.data import transcripts
from mt4ssl_core.data.audio import num_samples
from mt4ssl_core.data.batch import Batch
from mt4ssl_core.data.cuts import ListedCuts
from mt4ssl_core.data.loader import PretrainLoader
from mt4ssl_core.data.manifest import Manifest, check_share, hours_of, open_manifest, split_valid
from mt4ssl_core.data.vocabulary import SEPARATORS, Vocabulary
from mt4ssl_core.distributed import World
from mt4ssl_core.model.encoder import Encoder
from mt4ssl_core.settings.finetuning import LETTERS, TOKENS, FinetuneConfig


@dataclass
class Part:
    """Training or held-out speech: texts (normalised) and tokens by the id of an utterance."""

    source: Path
    manifest: Manifest
    texts: dict[str, str]
    tokens: dict[str, list[int]] = field(default_factory=dict)
    left_out: list[tuple[str, str]] = field(default_factory=list)

    def targets(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The tokens of a batch (B, L), zero after the end, and how many each has (B,)."""
        rows = [torch.tensor(self.tokens[id]) for id in batch.ids]
        sizes = torch.tensor([len(row) for row in rows], dtype=torch.int64)
        if not rows:
            return torch.zeros(0, 0, dtype=torch.int64), sizes
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), sizes

    def fingerprint(self, loader: PretrainLoader) -> str:
        """A name of ids, lengths and tokens, in their order."""
        digest = blake2b(loader.fingerprint.encode(), digest_size=16)
        for cut in loader.cuts:
            digest.update(repr(self.tokens[cut.id]).encode())
        return digest.hexdigest()


def read_speech(cfg: FinetuneConfig) -> list[Part]:
    """Return the training utterances with their texts, and the held-out ones if there are any.

    Raises:
        ValueError: no usable audio, or no transcripts; names the source.
    """
    data = cfg.data
    train = _read(cfg, transcripts.find_part(data.train, data.part), data.transcripts)
    if data.valid is not None:
        return [train, _read(cfg, transcripts.find_part(data.valid, None), data.valid_transcripts)]
    rest, held_out = split_valid(train.manifest, data.valid_share)
    train.manifest = rest
    if not len(held_out.cuts):
        return [train]
    return [train, Part(train.source, held_out, train.texts)]


def _read(cfg: FinetuneConfig, source: Path, given: str | None) -> Part:
    data = cfg.data
    manifest = open_manifest(
        source,
        min_seconds=data.min_seconds,
        strict=data.strict,
        max_skipped=data.max_skipped,
        texts=True,
    )
    found = transcripts.read_transcripts(source, manifest, given, cfg.text.units)
    texts = {id: transcripts.normalised(text, cfg.text) for id, text in found.items()}
    return Part(source, manifest, texts, left_out=list(manifest.skipped))


def find_vocabulary(cfg: FinetuneConfig, parts: list[Part], known: Vocabulary | None) -> Vocabulary:
    """Return the tokens of a run: those of its checkpoint (``known``), of the dictionary that is
    given, or of what the texts are made of; letters of the held-out ones too, so that all can be
    scored.

    Raises:
        ValueError: texts hold what is no letter, or what the vocabulary lacks; lists it with
            counts. The dictionary that is given is not that of the checkpoint. Or text.units is
            tokens, but these are letters, which would get a separator each.
    """
    text = cfg.text
    used = [{cut.id: p.texts.get(cut.id, "") for cut in p.manifest.cuts} for p in parts]
    if text.vocabulary is not None:
        given = Vocabulary.read(text.vocabulary)
        if known is not None and given != known:
            raise ValueError(
                f"{text.vocabulary}: other tokens than those of the run in {cfg.run.out}; give "
                "the dictionary that it began with, or another run.out"
            )
        known = given
    if known is None:
        if text.units == LETTERS:
            for part, texts in zip(parts, used, strict=True):
                transcripts.check_marks(texts, text, part.source)
        everything = [line for texts in used for line in texts.values()]
        known = Vocabulary.from_transcripts(everything, text.units == LETTERS)
    if text.units == TOKENS and known.spelled:
        raise ValueError(
            f"{text.vocabulary or parts[0].source}: text.units=tokens, but all tokens are single "
            f"letters, with {known.separator!r} between words; set text.units=letters"
        )
    for part, texts in zip(parts, used, strict=True):
        if unknown := known.unknown(texts.values()):
            remedy = _remedy(known, texts, text.units)
            raise ValueError(f"{part.source}: {known.said(unknown)}; {remedy}")
    return known


def _remedy(vocabulary: Vocabulary, texts: Mapping[str, str], units: str) -> str:
    if units == LETTERS and not vocabulary.spelled:
        return (
            f"text.units=letters needs single letters, and {SEPARATORS[0]!r} between words: give "
            "such a dictionary (text.vocabulary), or set text.units=tokens"
        )
    for case, change in (("upper", str.upper), ("lower", str.lower)):
        if not vocabulary.unknown(map(change, texts.values())):
            return f"its letters are in {case} case: set text.case={case}"
    return (
        "give the dictionary of these transcripts (text.vocabulary), or mend them; text.remove "
        "takes characters out"
    )


def choose(cfg: FinetuneConfig, part: Part, vocabulary: Vocabulary, encoder: Encoder) -> None:
    """Keep of ``part`` what can be learned from, with its tokens; the rest goes to ``left_out``.

    Raises:
        ValueError: nothing is left, or more than data.max_skipped cannot be used (any, if strict).
    """

    def frames(cut: Cut) -> int:
        return int(encoder.frame_lengths(num_samples(cut)))

    cuts, data = list(part.manifest.cuts), cfg.data
    found = transcripts.choose(cuts, part.texts, vocabulary.encode, frames, data.max_seconds)
    part.tokens = found.tokens
    part.left_out += found.left_out
    kept = ListedCuts(cut for cut in cuts if cut.id in found.tokens)
    if found.left_out:
        id, reason = found.left_out[0]
        remedy = f"first {id}: {reason}; mend or remove them, or raise data.max_skipped"
        most = 0.0 if data.strict else data.max_skipped
        if not len(kept):
            raise ValueError(f"{part.source}: no usable transcript; {remedy}")
        check_share(str(part.source), len(found.left_out), len(cuts), most, remedy)
    part.manifest = Manifest(kept, hours_of(kept), notes=part.manifest.notes)


def open_loader(cfg: FinetuneConfig, part: Part, encoder: Encoder, world: World) -> PretrainLoader:
    """The batches of ``part``: whole utterances, in groups of similar length."""
    settings: Any = encoder.cfg
    loader = partial(PretrainLoader, part.manifest, None, cfg.data, seed=cfg.run.seed, crop=False)
    return loader(
        normalize=settings.normalize,
        normalize_eps=settings.normalize_eps,
        rank=world.rank,
        world_size=world.size,
    )


def _texts(part: Part) -> list[str]:
    """The texts of the utterances in use."""
    return [part.texts.get(cut.id, "") for cut in part.manifest.cuts]


def facts(parts: list[Part], vocabulary: Vocabulary) -> list[str]:
    """What to say of the speech when a run begins."""
    tokens = vocabulary.tokens
    hours = [f"{part.manifest.hours:.2f} h" for part in parts]
    out = [f"{hours[0]} used, {hours[1] if len(parts) > 1 else 'nothing'} held out"]
    if len(parts) == 1:
        out.append("without held-out speech there is no best.pt; give data.valid")
    out.append(f"{len(tokens)} tokens: {' '.join(tokens[:60])}")
    learned = {unit for text in _texts(parts[0]) for unit in vocabulary.units(text)}
    new = [t for i, t in enumerate(tokens) if t not in learned and not vocabulary.is_special(i)]
    if new:
        out.append(f"not in the training speech, so never learned: {' '.join(new[:60])}")
    if both := [token for token in tokens if token != token.lower() and token.lower() in tokens]:
        out.append(f"{both[0]} and {both[0].lower()} are learned as two letters; see text.case")
    return [*out, *dict.fromkeys(note for part in parts for note in part.manifest.notes)]


def amounts(parts: list[Part]) -> dict[str, Any]:
    """How much speech there is, for the log."""
    hours = [round(part.manifest.hours, 4) for part in parts]
    return {
        "train_hours": hours[0],
        "held_out_hours": hours[1] if len(parts) > 1 else 0.0,
        "left_out": [f"{path}: {reason}" for part in parts for path, reason in part.left_out],
    }
