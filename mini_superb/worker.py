"""One synthesis process: sessions as JSON lines on stdin, audio files out, alignments on stdout.

A process of its own, started afresh: forking is safe only where nothing (torch) started threads.
"""

import gc
import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import soundfile

from mini_superb.clip import SAMPLE_RATE, Clip
from mini_superb.espeak import Espeak, in_child
from mini_superb.sound import make_tapes, render


def record(espeak: Espeak, root: Path, clip: Clip) -> dict[str, Any]:
    """Write the file of ``clip`` under ``root``; returns its line for the alignment file."""
    spoken = None
    if clip.speaker:
        who = clip.speaker
        rate = round(who.rate / who.tract)  # the vocal tract's factor also shortens
        spoken = espeak.say(
            clip.text, who.voice, rate, round(who.pitch), pitch_range=round(who.pitch_range)
        )
    wave, phones, end = render(clip, spoken)
    path = root / clip.path
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        soundfile.write(path, wave, SAMPLE_RATE, subtype="PCM_16")
    except soundfile.SoundFileError as error:
        raise ValueError(f"cannot write {path}: {error}; is there room on the disk?") from error
    return {
        "path": clip.path,
        "split": clip.split,
        "speaker": clip.speaker.name if clip.speaker else None,
        "text": clip.text,
        "samples": len(wave),
        "phones": phones,
        "end": end,
    }


def _record_all(espeak: Espeak, root: Path, clips: list[Clip]) -> Iterator[dict[str, Any]]:
    for clip in clips:
        yield record(espeak, root, clip)


def main() -> None:
    """Read everything, then record session by session; a failure is the last line of the answer."""
    root, *sessions = map(json.loads, sys.stdin.read().splitlines())
    try:
        espeak = Espeak()
        make_tapes()
        gc.collect()
        gc.freeze()  # forked children would copy what the collector touches
        for session in sessions:
            clips = [Clip.from_json(clip) for clip in session]
            for line in in_child(partial(_record_all, espeak, Path(root), clips)):
                print(json.dumps(line), flush=True)
    except (ValueError, OSError) as error:
        print(json.dumps({"error": str(error)}), flush=True)


if __name__ == "__main__":
    main()
