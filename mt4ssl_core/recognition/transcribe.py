"""Files in, their words out: on standard output, or one file each."""

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

from mt4ssl_core.config import SAMPLE_RATE
from mt4ssl_core.data.audio_bar import AudioBar
from mt4ssl_core.data.audio_folder import is_audio
from mt4ssl_core.data.manifest import MAX_SKIPPED
from mt4ssl_core.files import check_out, user_path, write_text
from mt4ssl_core.labelling import utterances
from mt4ssl_core.recognition.captions import Transcript, written
from mt4ssl_core.recognition.recogniser import Recogniser
from mt4ssl_core.settings.recognition_defaults import FORMATS


def transcribe(
    recogniser: Recogniser,
    audio: Sequence[str | Path],
    strict: bool = False,
    max_skipped: float = MAX_SKIPPED,
    show: bool = True,
    broken: list[str] | None = None,
    out: str | Path | None = None,
    format: str = FORMATS[0],
) -> list[Transcript]:
    """Return what is said in audio files, folders and lists, in their order.

    Args:
        recogniser: a model with its search.
        audio: files, folders, fairseq .tsv, CutSets or Shar folders.
        strict: whether the first file that cannot be read ends it; else such files are named.
        max_skipped: the share of the files that may be unusable.
        show: whether progress is shown.
        broken: gets a line where some files could not be read.
        out, format: where `write` will put them, which is looked at before anything is heard.

    Raises:
        ValueError: nothing to read, too many files that cannot be read, or as of `write`.
    """
    wanted, found = utterances.find(audio, strict)
    if out is not None:
        _places([utterance.name for utterance in wanted], out, format)
    heard: dict[int, Transcript] = {}
    place = {id(utterance): number for number, utterance in enumerate(wanted)}
    with (
        redirect_stdout(sys.stderr),  # standard output is for what was said
        AudioBar.over("transcribe", found, show) as bar,
    ):
        for utterance, log_probs in recogniser.emissions(wanted, strict, bar):
            seconds = utterance.samples / SAMPLE_RATE
            best = recogniser.hypotheses(log_probs)[0]
            heard[place[id(utterance)]] = Transcript(
                utterance.name, seconds, best.words, best.confidence
            )
            bar.advance(seconds)
    bar.check("audio", max_skipped, "mend or leave out the files named, or give --max-skipped")
    if bar.failed and broken is not None:
        broken.append(f"{bar.failed} files could not be transcribed; mend those named above")
    return [heard[number] for number in sorted(heard)]


def check_one_file(format: str, audio: Sequence[str | Path], out: str | Path | None) -> None:
    """Raise ValueError for captions of several files, which need a file each, in a folder."""
    check_out(out)
    several = len(audio) > 1 or any(user_path(source).is_dir() for source in audio)
    if format in ("srt", "vtt") and several and out is None:
        raise ValueError(f"--format {format}: captions of several files; give --out DIR")


def shown(transcripts: Sequence[Transcript], format: str) -> str:
    """Return transcripts for standard output.

    Of several files, a line of plain text begins with the file's name.
    """
    if format == "txt" and len(transcripts) > 1:
        return "\n".join(f"{one.name}: {one.text}" for one in transcripts)
    return "\n".join(written(one, format) for one in transcripts).removesuffix("\n")


def write(transcripts: Sequence[Transcript], out: str | Path, format: str) -> list[Path]:
    """Write one file per transcript into a folder; returns them.

    Raises:
        ValueError: two transcripts for one file, or a name outside the folder.
    """
    paths = _places([one.name for one in transcripts], out, format)
    for path, one in zip(paths, transcripts, strict=True):
        write_text(path, written(one, format).removesuffix("\n") + "\n")
    return paths


def _places(names: Sequence[str], out: str | Path, format: str) -> list[Path]:
    """The files of utterances of these names; ValueError as of `write`."""
    assert format in FORMATS
    folder, found = user_path(out), dict[Path, str]()
    for name in names:
        inside = name.lstrip("/")
        stem = inside.rpartition(".")[0] if is_audio(inside) else inside
        path = folder / f"{stem}.{format}"
        if path in found or not path.resolve().is_relative_to(folder.resolve()):
            raise ValueError(
                f"{name}: {path} is another's, or outside {folder}; transcribe it alone"
            )
        found[path] = name
    return list(found)
