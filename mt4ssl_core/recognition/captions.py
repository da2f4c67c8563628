"""Transcripts as files: plain text, JSON lines, and captions (SubRip .srt, WebVTT .vtt)."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from mt4ssl_core.search.hypothesis import Word

LONGEST, WIDEST, PAUSE = 6.0, 84, 0.8  # of a caption: s, characters; s after which one ends


@dataclass(frozen=True)
class Transcript:
    """What was said in a file of ``seconds``; ``confidence`` is None where nothing was."""

    name: str
    seconds: float
    words: tuple[Word, ...]
    confidence: float | None

    @property
    def text(self) -> str:
        """The words with single spaces between them."""
        return " ".join(word.text for word in self.words)


def written(transcript: Transcript, format: str) -> str:
    """Return a transcript in one of `FORMATS`; of txt and jsonl it is one line."""
    if format == "txt":
        return transcript.text
    if format == "jsonl":
        plain = asdict(transcript)
        plain["words"] = [_rounded(word) for word in transcript.words]
        plain["confidence"] = transcript.confidence and round(transcript.confidence, 4)
        return json.dumps({"name": plain.pop("name"), "text": transcript.text, **plain},
                          ensure_ascii=False)  # fmt: skip
    blocks = ["WEBVTT"] if format == "vtt" else []
    comma = "." if format == "vtt" else ","
    for number, words in enumerate(captions(transcript.words), 1):
        text = " ".join(word.text for word in words)
        start, end = (clock(time, comma) for time in (words[0].start, words[-1].end))
        counted = [] if format == "vtt" else [str(number)]
        blocks.append("\n".join([*counted, f"{start} --> {end}", _escaped(text, format)]))
    return "\n\n".join(blocks) + "\n" if blocks else ""


def captions(words: Sequence[Word]) -> list[list[Word]]:
    """Group words: a caption ends at a pause, or where it would be too long to read."""
    found: list[list[Word]] = []
    for word in words:
        last = found[-1] if found else []
        width = sum(len(w.text) + 1 for w in last) + len(word.text)
        if (
            not last
            or word.start - last[-1].end > PAUSE
            or word.end - last[0].start > LONGEST
            or width > WIDEST
        ):
            found.append([word])
        else:
            last.append(word)
    return found


def clock(seconds: float, comma: str = ".") -> str:
    """Return a time as HH:MM:SS.mmm."""
    milliseconds = round(1000 * seconds)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d}{comma}{rest % 1000:03d}"


def _rounded(word: Word) -> dict[str, object]:
    return {
        "text": word.text, "start": round(word.start, 3), "end": round(word.end, 3),
        "confidence": round(word.confidence, 4),
    }  # fmt: skip


def _escaped(text: str, format: str) -> str:
    """WebVTT has tags, and --> would begin another caption."""
    if format == "srt":
        return text.replace("-->", "->")
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
