"""The model card of an exported folder: README.md as Hugging Face's hub shows it.

It says what is known of the checkpoint, and nothing else.
"""

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mt4ssl_core import config
from mt4ssl_core.checkpoints import run_log
from mt4ssl_core.command_line import printable
from mt4ssl_core.config import DataConfig, EncoderConfig
from mt4ssl_core.files import atomic_path
from mt4ssl_core.model.mel_frames import STEP
from mt4ssl_core.settings import bounds, registry
from mt4ssl_core.settings.frames import HOP, SAMPLE_RATE

NAME = "README.md"
_SIGNED = re.compile(r"<!-- mt4ssl ([0-9a-f]{64}) -->\n\Z")
_TOLD = ("encoder", "masking", "optim")  # sections of a config that do not say where things lay
_OF_RUN = ("seed", "precision")  # of the section `run`


@dataclass(frozen=True)
class Card:
    """What a card says beside what the checkpoint knows.

    name: what the model is called; the folder's name by default. license, datasets: as the hub
    knows them; left out by default. section: Markdown about its scores, its audio and the like.
    files: what is put beside the card, by its name.
    """

    name: str | None = None
    license: str | None = None
    datasets: tuple[str, ...] = ()
    section: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)


def text(
    card: Card,
    state: Mapping[str, Any],
    out: Path,
    origin: str | Path,
    kind: str | None,
    note: str | None = None,
) -> str:
    """The README.md of a checkpoint in our form that is exported to ``out``; ``kind`` is the
    model_type in transformers, None of what is ours alone, ``note`` what its users have to know.
    """
    name = printable(card.name or out.absolute().name)
    quoted = json.dumps(name, ensure_ascii=False)
    ctc = "ctc" in state["targets"]
    task = "automatic-speech-recognition" if ctc else "feature-extraction"
    library = "mt4ssl" if kind is None else "transformers"
    about: dict[str, Any] = {"library_name": library, "pipeline_tag": task}
    about |= {"license": card.license} if card.license else {}
    about |= {"datasets": list(card.datasets)} if card.datasets else {}
    kinds = [] if kind is None else [kind]
    about["tags"] = ["mt4ssl", *kinds, "speech", "audio", "self-supervised-learning"]
    front = yaml.safe_dump(about, sort_keys=False, allow_unicode=True)
    parts = [
        f"---\n{front}---\n\n# {name.rsplit('/', 1)[-1]}",
        _form(state),
        f"## Load\n\n{_recognising(quoted) if ctc else _loading(quoted, kind)}",
        f"Note: {note}." if note else "",
        *_training(state, origin),
        card.section,
    ]
    return signed("\n\n".join(part.strip() for part in parts if part) + "\n")


def write_files(card: Card, folder: Path) -> None:
    """Put what is beside a card into ``folder``."""
    for name, content in card.files.items():
        with atomic_path(folder / name) as temporary:
            temporary.write_bytes(content)


def signed(card: str) -> str:
    """The text with a last line by which `is_ours` knows it again."""
    return f"{card}\n<!-- mt4ssl {_digest(card)} -->\n"


def is_ours(path: Path) -> bool:
    """Whether a card is as it was written, so that it may be replaced."""
    found = path.read_text(encoding="utf-8", errors="replace")
    mark = _SIGNED.search(found)
    return mark is not None and mark[1] == _digest(found[: mark.start() - 1])


def _digest(card: str) -> str:
    return hashlib.sha256(card.encode()).hexdigest()


def _form(state: Mapping[str, Any]) -> str:
    """What the encoder is."""
    cfg = EncoderConfig(**config.completed({"encoder": state["config"]["encoder"]})["encoder"])
    params = sum(value.numel() for value in state["encoder"].values())
    hop = STEP * cfg.mel_stack if cfg.frontend == "mel" else HOP
    return (
        f"A speech encoder with {cfg.layers} transformer layers of {cfg.dim} and {params:,} "
        f"parameters. It hears speech at 16 kHz and gives {SAMPLE_RATE / hop:g} frames per second."
    )


def _loading(quoted: str, kind: str | None) -> str:
    if kind is None:
        on_hub = "/" in quoted  # which mt4ssl asks for models of transformers' form only
        imports = "from huggingface_hub import snapshot_download\n" if on_hub else ""
        source = f"snapshot_download({quoted})" if on_hub else quoted
        return (
            "```python\n"
            f"import mt4ssl\n{imports}\n"
            f'features = mt4ssl.load({source}).features("speech.wav")  # (layers, frames, dim)\n'
            "```"
        )
    return (
        "```python\n"
        "from transformers import AutoFeatureExtractor, AutoModel\n\n"
        f"extractor = AutoFeatureExtractor.from_pretrained({quoted})\n"
        f"model = AutoModel.from_pretrained({quoted})\n"
        "```\n\n"
        "Or with `mt4ssl`, for audio files of any rate: "
        f'`mt4ssl.load({quoted}).features("speech.wav")`.'
    )


def _recognising(quoted: str) -> str:
    return (
        "```python\n"
        "import soundfile\n"
        "from transformers import pipeline\n\n"
        f'recognise = pipeline("automatic-speech-recognition", {quoted})\n'
        'wave, rate = soundfile.read("speech.wav", dtype="float32")\n'
        'print(recognise({"raw": wave, "sampling_rate": rate})["text"])\n'
        "```\n\n"
        'Where ffmpeg is installed, `recognise("speech.wav")` reads files itself.'
    )


def _training(state: Mapping[str, Any], origin: str | Path) -> Iterator[str]:
    """What is known of how it was trained; of an encoder alone, nothing is."""
    settings, progress = state["config"], state["progress"]
    if not state["targets"]:
        return
    facts = {"updates": _count(progress.get("update"))}
    amounts = run_log.amounts(Path(origin))
    facts["audio"] = _hours(amounts.get("train_hours"), amounts.get("train_files"))
    facts["audio heard"] = _hours(progress.get("audio_hours"))
    facts["took"] = _hours(progress.get("wall_hours"))
    facts["learned from"] = ", ".join(state["targets"])
    lines = [f"- {name}: {value}" for name, value in facts.items() if value]
    yield "## Training\n\n" + "\n".join(lines)
    parts = {name: settings[name] for name in _TOLD if settings.get(name) is not None}
    if pretrained := not state["targets"].keys() - registry.known().keys():
        parts = _repeatable(settings) | parts
    parts |= {name: settings.get(name) for name in state["targets"]}
    listed = yaml.safe_dump(parts, sort_keys=False, allow_unicode=True)
    if pretrained:
        yield f"The settings below as `settings.yaml`, with audio and labels of yours:\n\n{_AGAIN}"
    yield f"<details><summary>Settings</summary>\n\n```yaml\n{listed}```\n\n</details>"


_AGAIN = """```bash
mt4ssl pretrain settings.yaml data.train=AUDIO.tsv data.labels=AUDIO.km
```"""


def _repeatable(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What it takes to pre-train so again, beside the model's own: not where anything lay."""
    plain = [f.name for f in dataclasses.fields(DataConfig) if not bounds.rule(f).path]
    data, run = settings.get("data") or {}, settings.get("run") or {}
    return {
        "data": {name: data[name] for name in plain if name in data},
        "run": {name: run[name] for name in _OF_RUN if name in run},
        **{name: None for name in registry.known() if settings.get(name) is None},
    }


def _count(value: Any) -> str:
    return f"{value:,}" if type(value) is int and value > 0 else ""


def _hours(hours: Any, files: Any = None) -> str:
    """Hours as text, with the count of files, where they are known."""
    if type(hours) not in (int, float) or not 0 < hours < 1e9:
        return ""
    return f"{hours:,.3g} h" + (f" in {_count(files)} files" if _count(files) else "")
