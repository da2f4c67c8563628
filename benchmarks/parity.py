"""Do encoders of others give here what they give at home? Random weights, every hidden state.

``python benchmarks/parity.py`` writes a model of each type and size to disk, reads it as any
checkpoint is read, and compares with the model's own code: each utterance alone, and in a padded
batch with what it has alone at home. It writes benchmarks/results/parity.json and the table of
docs/results.md. Needs 8 GB of memory and of disk below $TMPDIR, and half an hour.
"""

import argparse
import gc
import json
import platform
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import torchaudio
import transformers
from torch import Tensor, nn

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import pages, round_trips  # noqa: E402
from mt4ssl_core.checkpoints import convert  # noqa: E402
from mt4ssl_core.files import write_json  # noqa: E402

RESULT = ROOT / "benchmarks" / "results" / "parity.json"
SAMPLES = (32_000, 21_111, 9_000)
SIZES = ("tiny", "BASE", "LARGE")
CLASSES = {
    "wav2vec2": "Wav2Vec2Model",
    "hubert": "HubertModel",
    "data2vec-audio": "Data2VecAudioModel",
    "unispeech": "UniSpeechModel",
    "unispeech-sat": "UniSpeechSatModel",
    "wavlm": "WavLMModel",
    "wav2vec2-conformer": "Wav2Vec2ConformerModel",
    "wav2vec2-bert": "Wav2Vec2BertModel",
    "sew": "SEWModel",
}
SHAPES: dict[str, dict[str, int]] = {  # as their configs call them
    "tiny": {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4,
             "intermediate_size": 64},
    "BASE": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
             "intermediate_size": 3072},
    "LARGE": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16,
              "intermediate_size": 4096},
}  # fmt: skip
CONV = {"conv_dim": [16] * 7}  # of tiny models
PRE_NORM = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
SEW_CONV = {"conv_kernel": [10, 3, 3, 3, 3, 2, 2], "conv_stride": [5, 2, 2, 2, 2, 2, 2]}

TINY_TORCHAUDIO: dict[str, Any] = {  # 768 and 12 heads: a state dict does not tell heads else
    "extractor_mode": "group_norm",
    "extractor_conv_layer_config": [(16, 10, 5)] + [(16, 3, 2)] * 4 + [(16, 2, 2)] * 2,
    "extractor_conv_bias": False, "encoder_embed_dim": 768, "encoder_projection_dropout": 0.0,
    "encoder_pos_conv_kernel": 128, "encoder_pos_conv_groups": 16, "encoder_num_layers": 3,
    "encoder_num_heads": 12, "encoder_attention_dropout": 0.0, "encoder_ff_interm_features": 64,
    "encoder_ff_interm_dropout": 0.0, "encoder_dropout": 0.0, "encoder_layer_norm_first": False,
    "encoder_layer_drop": 0.0, "aux_num_out": None,
}  # fmt: skip

Home = Callable[[Tensor], list[Tensor]]  # a waveform -> its hidden states (T, D) by their own code


def moved(model: nn.Module) -> Any:
    """Give gains and biases random values too, so that none is without effect."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def of_transformers(kind: str, size: str, folder: Path) -> tuple[Path, Home]:
    """Write a model of transformers'; return where, and what it gives there."""
    form = getattr(transformers, CLASSES[kind])
    values: dict[str, Any] = dict(SHAPES[size])
    mel = kind == "wav2vec2-bert"
    if size == "tiny" and not mel:
        values |= CONV
    if size == "LARGE" and kind in ("wav2vec2", "hubert", "unispeech", "unispeech-sat", "wavlm"):
        values |= PRE_NORM
    if kind == "sew":
        values |= SEW_CONV | {"conv_dim": [16 if size == "tiny" else 512] * 7}
    model = moved(form(form.config_class(**values)))
    model.save_pretrained(folder)
    extractor = (
        transformers.SeamlessM4TFeatureExtractor()
        if mel
        else transformers.Wav2Vec2FeatureExtractor()
    )
    extractor.save_pretrained(folder)
    return folder, partial(_hidden_states, model, extractor, kind)


def _hidden_states(model: Any, extractor: Any, kind: str, wave: Tensor) -> list[Tensor]:
    inputs = extractor(wave.numpy(), sampling_rate=16_000, return_tensors="pt")
    valid = int(inputs["attention_mask"].sum()) if kind == "wav2vec2-bert" else None
    out = model(**inputs, output_hidden_states=True)
    states = list(out.hidden_states)
    if kind != "sew":
        states[-1] = out.last_hidden_state  # after the final norm
    return [state[0, :valid] for state in states]


def of_torchaudio(kind: str, size: str, folder: Path) -> tuple[Path, Home]:
    """Write a state dict of a model of torchaudio's; return where, and what the model gives."""
    if size != "tiny":
        model = getattr(torchaudio.models, f"{kind}_{size.lower()}")()
    elif kind == "wavlm":
        places = {"encoder_num_buckets": 320, "encoder_max_distance": 800}
        model = torchaudio.models.wavlm_model(**TINY_TORCHAUDIO, **places)
    else:
        model = torchaudio.models.wav2vec2_model(**TINY_TORCHAUDIO)
    model, path = moved(model), folder / "model.pth"
    torch.save(model.state_dict(), path)
    return path, partial(_extracted, model, size == "LARGE" and kind != "wav2vec2")


def _extracted(model: Any, large: bool, wave: Tensor) -> list[Tensor]:
    heard = nn.functional.layer_norm(wave, wave.shape) if large else wave
    states, _ = model.extract_features(heard[None])
    if large:
        states[-1] = model.encoder.transformer.layer_norm(states[-1])
    return [state[0] for state in states]


def worst(ours: list[Tensor], theirs: list[Tensor]) -> float:
    """The largest difference over hidden states, relative to each one's largest value."""
    ours = ours[len(ours) - len(theirs) :]  # torchaudio does not give the first layer's input
    pairs = zip(ours, theirs, strict=True)
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)


@torch.no_grad()
def compare(source: str, kind: str, size: str) -> dict[str, Any]:
    """One row: a model written by its own code, read by ours."""
    torch.manual_seed(0)
    waves = [0.1 * torch.randn(samples) for samples in SAMPLES]
    make = of_transformers if source == "transformers" else of_torchaudio
    with tempfile.TemporaryDirectory() as folder:
        path, home = make(kind, size, Path(folder))
        theirs = [home(wave) for wave in waves]
        encoder = convert.load_encoder(path)
    alone = [worst([s[0] for s in encoder.encode([w])[0]], t) for w, t in zip(waves, theirs)]  # noqa: B905
    states, lengths = encoder.encode(waves)
    padded = [
        worst([state[row, : int(lengths[row])] for state in states], wanted)
        for row, wanted in enumerate(theirs)
    ]
    return {
        "source": source,
        "kind": kind,
        "size": size,
        "params": sum(parameter.numel() for parameter in encoder.parameters()),
        "hidden_states": len(theirs[0]),
        "alone": max(alone),
        "padded": max(padded),
    }


def measure(sizes: list[str]) -> None:
    """Compare every type at ``sizes``, then their round trips; keep the other rows, and write the
    JSON after each.
    """
    kinds = ("wav2vec2", "hubert", "wavlm")
    wanted = [("transformers", kind, size) for size in sizes for kind in CLASSES]
    wanted += [("torchaudio", kind, size) for size in sizes for kind in kinds]
    for source, kind, size in wanted:
        row = compare(source, kind, size)
        print(f"{source} {kind} {size}: alone {row['alone']:.1e}, padded {row['padded']:.1e}")
        _keep("rows", row, ("source", "kind", "size"))
    makers = {"HF": of_transformers, "torchaudio": of_torchaudio}
    for trip, kind, size in round_trips.wanted(sizes):
        row = round_trips.made(trip, kind, size, makers)
        print(f"{trip} {kind} {size}: {row['identical']} of {row['tensors']} tensors")
        _keep("round_trips", row, ("trip", "kind", "size"))


def _keep(name: str, row: dict[str, Any], same: tuple[str, ...]) -> None:
    """Put a row in place of the former one into the JSON, with what it was measured on."""
    gc.collect()
    found = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    rows = [old for old in found.get(name, []) if any(old[key] != row[key] for key in same)]
    packages = ("torch", "torchaudio", "transformers")
    versions = {name: version(name) for name in packages} | {"python": platform.python_version()}
    setting = {"samples": SAMPLES, "precision": "fp32", "device": "cpu", "weights": "random"}
    about = {"machine": platform.machine(), "versions": versions, "setting": setting}
    write_json(RESULT, {**found, **about, name: [*rows, row]})


def table() -> str:
    """The table of differences for docs/results.md, from the committed JSON."""
    found = {(row["source"], row["kind"], row["size"]): row for row in _rows("rows")}
    cells = {key: f"{row['alone']:.0e} / {row['padded']:.0e}" for key, row in found.items()}
    kinds = [("transformers", kind) for kind in CLASSES]
    kinds += [("torchaudio", kind) for kind in ("wav2vec2", "hubert", "wavlm")]
    return _by_size(
        "| model type | its own code",
        [(k, s) for s, k in kinds],
        lambda kind, source, size: cells.get((source, kind, size), ""),
    )


def trips_table() -> str:
    """The table of round trips."""
    found = {(row["kind"], row["trip"], row["size"]): row for row in _rows("round_trips")}
    cells = {key: f"{row['identical']} of {row['tensors']}" for key, row in found.items()}
    rows = list(dict.fromkeys((kind, trip) for kind, trip, _ in found))
    return _by_size("| model type | there and back", rows, lambda *key: cells.get(key, ""))


def _rows(name: str) -> list[dict[str, Any]]:
    return json.loads(RESULT.read_text()).get(name, [])


def _by_size(head: str, rows: list[tuple[str, str]], cell: Callable[[str, str, str], str]) -> str:
    lines = [f"{head} | {' | '.join(SIZES)} |", f"| --- | --- | {' | '.join(['---:'] * 3)} |"]
    for first, second in rows:
        cells = [cell(first, second, size) for size in SIZES]
        lines.append(f"| {first} | {second} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, then put the table into docs/results.md."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tables-only", action="store_true", help="only write the table")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    asked = parser.parse_args()
    if not asked.tables_only:
        measure(asked.sizes)
    pages.show("parity", table())
    pages.show("round-trips", trips_table())


if __name__ == "__main__":
    main()
