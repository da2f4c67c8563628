"""Features of audio files on disk: one file per utterance, (layers, T, D) float32.

The folder structure of the audio is kept (``a/b.wav`` -> ``OUT/a/b.npy``), what is there already is
not computed again, ``OUT/features.json`` says what the files are, and ``OUT/SHA256SUMS`` tells
damage: ``sha256sum -c SHA256SUMS``, or the same command again, which replaces what is damaged.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from mt4ssl_core.checkpoints import python_file
from mt4ssl_core.checkpoints.checksums import Checksums
from mt4ssl_core.checkpoints.convert import load_encoder
from mt4ssl_core.checkpoints.fingerprints import encoder_fingerprint
from mt4ssl_core.checkpoints.foreign import hub_models
from mt4ssl_core.data.audio import SAMPLE_RATE, audio_name
from mt4ssl_core.data.audio_bar import AudioBar
from mt4ssl_core.data.manifest import MAX_SKIPPED
from mt4ssl_core.distributed import choose_device
from mt4ssl_core.files import (
    atomic_path,
    read_json,
    refuse_others,
    remove_leftovers,
    user_path,
    write_json,
)
from mt4ssl_core.labelling.extract_items import items_of
from mt4ssl_core.labelling.hidden_states import (
    BATCH_SECONDS,
    batches,
    check_features,
    choose,
    hidden_states,
)
from mt4ssl_core.labelling.utterances import read_ahead, within_memory
from mt4ssl_core.model.speech_encoder import SpeechEncoder
from mt4ssl_core.settings.labelling_defaults import DEVICE, FORMATS, LAYERS

KEY = "hidden_states"  # of the tensor in a safetensors file


def layers_of(text: str) -> str | list[int]:
    """Read "all", or numbers such as "0,6,12".

    Raises:
        ValueError: neither.
    """
    try:
        return LAYERS if text == LAYERS else [int(number) for number in text.split(",")]
    except ValueError:
        raise ValueError(f"--layers {text}: give all, or numbers such as 0,6,12") from None


def extract(
    checkpoint: str | Path,
    audio: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    layers: str | Sequence[int] = LAYERS,
    format: str = FORMATS[0],
    device: str = DEVICE,
    batch_seconds: float = BATCH_SECONDS,
    strict: bool = False,
    max_skipped: float = MAX_SKIPPED,
) -> int:
    """Write hidden states (layers, T, D) of every utterance; return how many.

    checkpoint: anything `mt4ssl_core.checkpoints.convert.load_any` reads. audio: files, folders,
    fairseq .tsv,
    CutSets or Shar folders. layers: "all", or numbers as Hugging Face counts them: 0 is the input
    of the first layer, the last the output. batch_seconds: audio that is encoded at once, padding
    included; an encoder with ``isolate_padding: false`` gets one utterance at a time, since others
    in a batch would change its features. Files that exist, and agree with their checksums, are left
    as they are. Unreadable audio, and what is too long for the memory, is named and skipped.

    Raises:
        ValueError: nothing to read, an unknown layer or format, two utterances for one file,
            a folder with features of another kind or other files, features with NaN, with
            ``strict`` the first unreadable file; and in the end, when more than the share
            ``max_skipped`` of the files could not be used (the others are written).
    """
    if format not in FORMATS:
        raise ValueError(f"format {format!r}: unknown; use {' or '.join(FORMATS)}")
    checkpoint = python_file.of_user(str(checkpoint))
    checkpoint = str(hub_models.local(checkpoint))  # says its revision, if it is from the hub
    encoder = load_encoder(user_path(checkpoint)).to(choose_device(device))
    chosen = choose(layers, encoder, checkpoint)
    out = user_path(out)
    sources = [audio] if isinstance(audio, str | Path) else list(audio)
    items, found = items_of(sources, out, format, strict)
    kind = {"sha256": encoder_fingerprint(encoder), "layers": chosen, "format": format}
    rate = encoder.frame_rate
    about: dict[str, Any] = {"checkpoint": str(checkpoint)}
    about["frames_per_second"] = int(rate) if rate == int(rate) else rate
    _describe(out, kind, about | {"shape": "(layers, T, D)"})
    remove_leftovers(out)
    sums = Checksums(out)
    there = [item for item in items if item.target.exists()]
    damaged = [item for item in there if not sums.whole(item.target)]
    wanted = [item for item in items if not item.target.exists()] + damaged
    hours = sum(item.samples for item in wanted) / SAMPLE_RATE / 3600
    bar = AudioBar.over("extract", replace(found, hours=hours), show=True)
    if there:
        bar.say(f"{len(there) - len(damaged)} of {len(items)} files exist already")
    for item in damaged:
        bar.say(f"{item.target}: damaged, or without a line in {out}/SHA256SUMS: computed again")
    places = batches([item.samples for item in wanted], encoder.isolated, batch_seconds)
    encode = partial(_hidden_states, encoder, chosen)
    together = ([wanted[place] for place in batch] for batch in places)
    try:
        for batch, waves in read_ahead(together, strict, bar):
            for item, features in within_memory(encode, batch, waves, strict, bar):
                check_features(features, audio_name(item.source))
                _write(item.target, features, format, sums)
                bar.advance(item.samples / SAMPLE_RATE)
    finally:
        bar.close()
    written, whole = bar.used, len(there) - len(damaged)
    bar.say(
        f"extract: {whole + written} of {len(items) + found.unreadable} utterances are in {out}"
    )
    bar.used += whole
    remedy = "the others are written; mend the files named and run again, or give --max-skipped"
    bar.check(str(out), max_skipped, remedy)
    return written


def _describe(out: Path, kind: dict[str, Any], about: dict[str, Any]) -> None:
    """Write ``features.json``, or check that the one there says the same; ValueError: the folder
    holds something else.
    """
    path = out / "features.json"
    if path.is_file():
        there = read_json(path)
        differing = [
            key for key in kind if not isinstance(there, dict) or there.get(key) != kind[key]
        ]
        if differing:
            raise ValueError(
                f"{path}: features with another {', '.join(differing)} are there; give a new folder"
            )
        return
    refuse_others(str(out), out, path.name)
    write_json(path, kind | about)


def _hidden_states(
    encoder: SpeechEncoder, layers: Sequence[int], waves: Sequence[np.ndarray]
) -> list[torch.Tensor]:
    return [features.cpu() for features in hidden_states(encoder, waves, layers)]


def _write(target: Path, features: torch.Tensor, format: str, sums: Checksums) -> None:
    with atomic_path(target) as temporary:
        if format == "npy":
            array = np.ascontiguousarray(features.numpy())
            about = np.lib.format.header_data_from_array_1_0(array)
            with open(temporary, "wb") as file:  # np.save hides why a disk refuses
                np.lib.format.write_array_header_1_0(file, about)
                file.write(array.data.cast("B"))
        else:
            save_file({KEY: features.contiguous()}, temporary)
        sums.add(target, temporary)
