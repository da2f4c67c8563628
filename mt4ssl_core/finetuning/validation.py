"""Word and character error rates on held-out speech, by the best token of each frame."""

from collections.abc import Sequence
from typing import Any

import torch

from mt4ssl_core.data.batch import Skipped
from mt4ssl_core.finetuning.speech import Part
from mt4ssl_core.model.ctc import CTCModel, ctc_losses
from mt4ssl_core.recognition.word_scores import character_errors, total, word_errors
from mt4ssl_core.training.run import Run
from mt4ssl_core.training.skipping import named
from mt4ssl_core.training.step import autocast
from mt4ssl_core.training.validation import held_out_batches, is_best, lost_share

PATIENCE = 500  # updates of the whole model after which nothing but blanks is worth a word
_BLANKS = (
    "no text comes out, nothing but blanks: CTC begins so, but not for so long. If it stays: a "
    "higher optim.lr or optim.head_lr, more updates, less masking (masking.prob, "
    "masking.channel_prob), or transcripts that do not belong to their audio"
)


def validate(run: Run, part: Part) -> bool | None:
    """Measure, log, and say whether the word error rate is the lowest so far, of equal ones the
    character error rate; None when a signal came first.
    """
    training, model = run.training, run.training.model
    model.eval()
    try:
        measured = _measure(run, part)
    finally:
        model.train()
    if measured is None:
        return None
    progress = training.progress
    progress.validated = progress.update
    values, skipped, read = measured
    share = lost_share(skipped, read)
    run.skips.files.add(named(skipped), progress.update)
    line: dict[str, Any] = {f"valid/{name}": value for name, value in values.items()}
    line |= {"valid/skipped": len(skipped), "valid/skipped_share": share}
    silent = progress.update >= training.cfg.encoder.freeze_updates + PATIENCE
    if silent and values.get("empty_share") == 1.0:
        line["hint"] = _BLANKS
        run.journal.say(f"update {progress.update}: {_BLANKS}")
    run.journal.line({"update": progress.update, **line})
    return is_best(run, values.get("wer"), skipped, share, values.get("cer", 0.0))


@torch.no_grad()
def _measure(run: Run, part: Part) -> tuple[dict[str, float], list[Skipped], float] | None:
    """One pass over the held-out speech; alike on all processes."""
    training, world = run.training, run.training.world
    model: CTCModel = training.model
    texts: list[tuple[str, str]] = []  # reference, recognised
    sums, skipped, read = torch.zeros(3, dtype=torch.float64), [], 0.0  # loss, blanks, frames
    assert run.valid is not None
    for batch in held_out_batches(world, run.valid, run.requested):
        if batch is None:
            return None
        skipped += batch.skipped
        read += batch.seconds
        if not batch.ids:
            continue
        tokens, sizes = part.targets(batch)
        moved = batch.to(world.device)
        with autocast(training.cfg, world):
            logits, frames = model(moved.waves, moved.lengths)
        tokens, blank = tokens.to(world.device), model.vocabulary.blank
        losses = ctc_losses(logits, frames, tokens, sizes, blank)
        paths = logits.argmax(-1).tolist()
        for id, path, count in zip(batch.ids, paths, frames.tolist(), strict=True):
            blanks = path[:count].count(model.vocabulary.blank)
            sums += torch.tensor([0.0, blanks, count], dtype=torch.float64)
            said = model.vocabulary.text(model.vocabulary.collapse(path[:count]))
            texts.append((part.texts[id], said))
        sums[0] += losses.sum().item()
    gathered = world.gather((texts, skipped, read))
    everything = [pair for part_texts, _, _ in gathered for pair in part_texts]
    loss, blanks, count = world.sum(sums.to(world.device)).tolist()
    values = _rates(everything)
    if everything:
        empty = sum(not said for _, said in everything) / len(everything)
        values |= {"loss": loss / len(everything), "blank_share": blanks / count}
        values["empty_share"] = empty
    met = [item for _, some, _ in gathered for item in some]
    return values, met, sum(seconds for _, _, seconds in gathered)


def _rates(texts: Sequence[tuple[str, str]]) -> dict[str, float]:
    """Word and character error rates of (reference, recognised)."""
    if not texts:
        return {}
    words = total([word_errors(*pair) for pair in texts])
    characters = total([character_errors(*pair) for pair in texts])
    return {"wer": words.rate, "cer": characters.rate}
