"""`mt4ssl predict`: what a trained head says of audio files, as a table, CSV or JSON lines."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mt4ssl_core.data.audio import SAMPLE_RATE, audio_name
from mt4ssl_core.data.audio_bar import AudioBar
from mt4ssl_core.data.manifest import MAX_SKIPPED
from mt4ssl_core.files import user_path, write_text
from mt4ssl_core.labelling.hidden_states import BATCH_SECONDS, batches
from mt4ssl_core.labelling.utterances import Utterance, find, read_ahead, within_memory
from mt4ssl_core.settings.labelling_defaults import DEVICE
from upstream.trained import formats
from upstream.trained.answers import Prediction

if TYPE_CHECKING:
    from upstream.trained.trained_head import TrainedHead

Row = tuple[str, Prediction]  # the file's name first


def predict(
    head: str | Path,
    audio: Sequence[str | Path],
    *,
    ckpt: str | None = None,
    root: str | Path | None = None,
    top: int = 1,
    format: str | None = None,
    out: str | Path | None = None,
    device: str = DEVICE,
    strict: bool = False,
    max_skipped: float = MAX_SKIPPED,
) -> list[Row]:
    """Write what a head says of every utterance; returns it.

    Args:
        head: a checkpoint of an experiment, or its folder.
        audio: files, folders, and lists, as `mt4ssl_core.labelling.utterances.find` takes them.
        ckpt: the head's encoder; None: where the head says that it was.
        root: the folder of its corpus, for a head that does not know its labels.
        top: how many labels, with their probabilities.
        format: "table", "csv" or "jsonl"; None: as the name of ``out`` ends, else a table.
        out: the file to write; None: printed.
        device: "auto", "cpu", "cuda" or "cuda:N".
        strict: stop at the first file that cannot be used; else it is named and skipped.
        max_skipped: the share of files that may be skipped.

    Raises:
        ValueError: as of `TrainedHead`; no usable audio; ``top`` of a head that gives text; and in
            the end, when too many files could not be used (the others are written).
    """
    place = None if out is None else user_path(out)
    kind = formats.choose(format, place)
    if place is not None and place.is_dir():
        raise ValueError(f"--out {place}: a folder; give a file, such as {place / 'said.csv'}")
    found, problems = find(audio, strict)
    from upstream.trained.trained_head import TrainedHead  # imports s3prl

    model = TrainedHead(head, ckpt=ckpt, root=root, device=device)
    model.check_top(top)
    with AudioBar.over("predict", problems, show=True, stream=sys.stderr) as bar:
        said = _said(model, found, top, strict, bar)
    rows = [said[place] for place in sorted(said)]
    text = formats.written(rows, kind, "text" if model.gives_text else "label")
    if place is None:
        sys.stdout.write(text)
    else:
        write_text(place, text)
        bar.say(f"predict: {len(rows)} of {bar.used + bar.failed} utterances are in {place}")
    remedy = "the others are done; mend the files named and run again, or give --max-skipped"
    bar.check("predict", max_skipped, remedy)
    return rows


@dataclass(frozen=True)
class _Numbered(Utterance):
    """An utterance and its place among those that are asked for."""

    place: int


def _said(
    model: "TrainedHead", found: Iterable[Utterance], top: int, strict: bool, bar: AudioBar
) -> dict[int, Row]:
    """Return what the head says, by the utterance's place; what cannot be used is skipped."""
    asked = [_Numbered(u.name, u.source, u.samples, place) for place, u in enumerate(found)]
    places = batches([each.samples for each in asked], model.isolated, BATCH_SECONDS)
    said: dict[int, Row] = {}
    for batch, waves in read_ahead(([asked[i] for i in batch] for batch in places), strict, bar):
        for utterance, features in within_memory(model.features, batch, waves, strict, bar):
            name = audio_name(utterance.source)
            try:
                said[utterance.place] = (name, model.read(features, top))
            except ValueError as error:
                if strict:
                    raise ValueError(f"{name}: {error}") from error
                bar.skip(name, str(error))
                continue
            bar.advance(utterance.samples / SAMPLE_RATE)
    return said
