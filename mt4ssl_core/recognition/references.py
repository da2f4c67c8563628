"""What was really said, and by whom: transcripts in the form that a model writes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lhotse.cut import Cut

from mt4ssl_core.checkpoints import checkpoint
from mt4ssl_core.checkpoints.foreign import checkpoint_files, fairseq
from mt4ssl_core.data import csv_tables
from mt4ssl_core.data.audio import MIN_SAMPLES, SAMPLE_RATE, audio_name, num_samples
from mt4ssl_core.data.cuts import ListedCuts
from mt4ssl_core.data.manifest import Manifest, open_manifest
from mt4ssl_core.data.transcripts import normalised, read_transcripts
from mt4ssl_core.data.vocabulary import Vocabulary
from mt4ssl_core.files import user_path
from mt4ssl_core.labelling.utterances import Utterance
from mt4ssl_core.settings import bounds
from mt4ssl_core.settings.finetuning import MARK, TOKENS, TextConfig, text_from_dict


@dataclass(frozen=True)
class Spoken(Utterance):
    """An utterance with its reference; the speaker is None where nobody tells."""

    text: str = ""
    speaker: str | None = None


def read_references(
    source: str | Path,
    transcripts: str | None,
    text: TextConfig,
    vocabulary: Vocabulary,
    strict: bool = False,
    max_skipped: float = 1.0,
) -> tuple[list[Spoken], Manifest]:
    """Return utterances with transcripts; and, without cuts, what was wrong: others are named.

    Args:
        source: what `mt4ssl_core.data.transcripts.read_transcripts` takes.
        transcripts: the text file of a ``.tsv`` that has none beside it.
        text: how references are brought to the model's form.
        vocabulary: the model's.
        strict: whether the first utterance that cannot be used ends it.
        max_skipped: share of the audio files that may be unreadable.

    Raises:
        ValueError: no audio, too much of it unreadable, no transcripts, or letters in them that the
            model does not have.
    """
    source = user_path(source)
    manifest = open_manifest(
        source,
        min_seconds=MIN_SAMPLES / SAMPLE_RATE,
        strict=strict,
        max_skipped=max_skipped,
        texts=True,
    )
    texts = read_transcripts(source, manifest, transcripts, text.units)
    speakers = _speakers(source)
    found: list[Spoken] = []
    for cut in manifest.cuts:
        if cut.id not in texts:
            if strict:
                raise ValueError(f"{audio_name(cut)}: no transcript; add it or leave it out")
            manifest.skipped.append((audio_name(cut), "no transcript"))
            continue
        said, speaker = normalised(texts[cut.id], text), speakers.get(cut.id) or _speaker(cut)
        found.append(Spoken(cut.id, cut, num_samples(cut), said, speaker))
    if unknown := vocabulary.unknown(one.text for one in found):
        raise ValueError(
            f"{source}: {vocabulary.said(unknown)}; mend the transcripts, change their case "
            "(--case) or take characters out of them (--remove)"
        )
    if not any(one.text for one in found):
        raise ValueError(f"{source}: all transcripts are empty; use mt4ssl transcribe")
    return found, replace(manifest, cuts=ListedCuts())


def _speakers(source: Path) -> Mapping[str, str]:
    """{id: speaker} of a CSV with a column ``speaker``."""
    if source.suffix != ".csv":
        return {}
    columns, rows = csv_tables.read_table(source, ["path"])
    return {row["path"]: row["speaker"] for _, row in rows} if "speaker" in columns else {}


def _speaker(cut: Cut) -> str | None:
    """The speaker that a cut's supervisions name, or the folders of LibriSpeech."""
    named = {part.speaker for part in cut.supervisions if part.speaker}
    if len(named) == 1:
        return str(named.pop())
    path = Path(audio_name(cut))
    folders = f"{path.parent.parent.name}-{path.parent.name}-"
    return path.parent.parent.name if path.stem.startswith(folders) else None


def text_settings(
    config: Mapping[str, Any] | None,
    vocabulary: Vocabulary,
    case: str | None,
    remove: str | None,
    where: str = "config",
) -> TextConfig:
    """Return how references are read for a model: as it was fine-tuned, or as its letters are.

    Args:
        config: as of `finetuned_with`.
        vocabulary: the model's tokens.
        case: upper, lower or keep, instead of that.
        remove: characters that are taken out, instead of those.
        where: what has the config.

    Raises:
        ValueError: settings of other names or types in the config, or another case than these.
    """
    if config is not None and MARK in config:
        found = text_from_dict(config[MARK], where)
    elif vocabulary.spelled:
        found = TextConfig(case=_case(vocabulary))
    else:
        found = TextConfig(units=TOKENS, case="keep")
    found = found if case is None else replace(found, case=case)
    bounds.check(found, "--")
    return found if remove is None else replace(found, remove=remove)


def finetuned_with(path: str | Path) -> Mapping[str, Any] | None:
    """Return the config in a checkpoint of `mt4ssl finetune`; None: it is another's."""
    path = Path(path)
    if checkpoint_files.is_hugging_face(path):
        return None
    state = checkpoint.read(path, fairseq.CLASSES)
    config = None if fairseq.is_fairseq(state) else state.get("config")
    return config if isinstance(config, dict) else None


def _case(vocabulary: Vocabulary) -> str:
    letters = "".join(t for n, t in enumerate(vocabulary.tokens) if not vocabulary.is_special(n))
    has_upper, has_lower = letters != letters.lower(), letters != letters.upper()
    return "keep" if has_upper == has_lower else "upper" if has_upper else "lower"
