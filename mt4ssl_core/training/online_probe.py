"""A linear probe during pre-training (`run.probe`): what the layers hold, at every validation.

It is trained anew each time, on means over time of frozen features, without anything random. The
encoder never learns from it, and a run with it has the same weights as one without.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mt4ssl_core.data import csv_tables
from mt4ssl_core.data.audio import MIN_SAMPLES, SAMPLE_RATE, load_wave
from mt4ssl_core.data.csv_tables import TEST, TRAIN
from mt4ssl_core.data.cuts import stable_hash
from mt4ssl_core.data.normalization import normalize
from mt4ssl_core.files import user_path
from mt4ssl_core.model import linear_probe
from mt4ssl_core.model.encoder import Encoder

COLUMNS = ("keyword", "label", "speaker", "gender")  # that are probed, where a table has them
UTTERANCES = 300  # that are encoded, train and test together
LONGEST = 8.0  # seconds of an utterance that are looked at
LEAST = 10  # utterances, on either side
TESTED = 0.3  # share of the speakers (of speaker: utterances) where the table has no split
PENALTY = 1e-2


@dataclass(frozen=True)
class Labelled:
    """An utterance of the table: its labels by column, and the side it is on in each."""

    path: Path
    id: str
    labels: dict[str, str]
    sides: dict[str, str]


class OnlineProbe:
    """Some labelled utterances, and what a linear map reads off an encoder's layers about them.

    ``say`` gets a line on audio that is left out.

    Raises:
        ValueError: no such table, no column to probe, or too few utterances in it.
    """

    def __init__(self, table: str, say: Callable[[str], None] = print) -> None:
        self.table, self.say = user_path(table), say
        self.utterances = _read(self.table)
        self.columns = [name for name in COLUMNS if self._enough(name, self.utterances)]
        if not self.columns:
            raise ValueError(
                f"{self.table}: nothing to probe: expected a column {', '.join(COLUMNS[:-1])} or "
                f"{COLUMNS[-1]} with two labels or more, of {LEAST} utterances or more to train on "
                "and to test on; add some, or set run.probe=null"
            )
        self._waves: list[np.ndarray] | None = None

    @staticmethod
    def _enough(column: str, utterances: Sequence[Labelled]) -> bool:
        sides = [
            [u.labels[column] for u in utterances if u.sides.get(column) == side]
            for side in (TRAIN, TEST)
        ]
        known = [label for label in sides[1] if label in set(sides[0])]
        return min(len(sides[0]), len(known)) >= LEAST and len(set(sides[0])) > 1

    def measure(self, encoder: Encoder) -> dict[str, float]:
        """Accuracies on the utterances tested on: COLUMN/last, of the last layer, and COLUMN/best,
        of the best one. {} where no audio of the table can be read.

        The encoder has to be in the mode for evaluation.
        """
        if self._waves is None:
            self._waves = self._load()
        if not self._waves:
            return {}
        layers, found = self._means(encoder, self._waves), {}  # (U, L, D)
        for column in self.columns:
            if not self._enough(column, self.utterances):
                continue
            sides = np.array([u.sides.get(column, "") for u in self.utterances])
            labels = np.array([u.labels.get(column, "") for u in self.utterances])
            known = (sides == TEST) & np.isin(labels, labels[sides == TRAIN])
            accuracies = [
                _accuracy(layers[:, layer], labels, sides == TRAIN, known)
                for layer in range(layers.shape[1])
            ]
            found[f"probe/{column}/last"] = accuracies[-1]
            found[f"probe/{column}/best"] = max(accuracies)
        return found

    @torch.no_grad()
    def _means(self, encoder: Encoder, waves: Sequence[np.ndarray]) -> np.ndarray:
        """Means over time of every layer of every utterance, (U, L, D)."""
        device, found = next(encoder.parameters()).device, []
        for wave in waves:
            if encoder.cfg.normalize:
                wave = normalize(wave, encoder.cfg.normalize_eps)
            batch = torch.from_numpy(wave)[None].to(device)
            states = encoder(batch, torch.tensor([len(wave)])).hidden_states
            means = [state[0].float().mean(0).nan_to_num(posinf=0, neginf=0) for state in states]
            found.append(torch.stack(means).cpu().numpy())
        return np.stack(found)

    def _load(self) -> list[np.ndarray]:
        """The waveforms; an utterance that cannot be read is left out from now on."""
        waves, usable, lost = [], [], []
        for item in self.utterances:
            try:
                wave = load_wave(item.path)[: int(LONGEST * SAMPLE_RATE)]
            except ValueError as error:
                lost.append(str(error))
                continue
            if len(wave) < MIN_SAMPLES:
                lost.append(f"{item.path}: shorter than a frame")
                continue
            waves.append(wave)
            usable.append(item)
        if lost:
            self.say(
                f"run.probe: {len(lost)} of {len(self.utterances)} utterances of {self.table} are "
                f"left out, first {lost[0]}"
            )
        self.utterances = usable
        return waves


def _accuracy(x: np.ndarray, labels: np.ndarray, train: np.ndarray, test: np.ndarray) -> float:
    probe = linear_probe.fit(x[train], labels[train], PENALTY)
    return float(np.mean(probe.predict(x[test]) == labels[test]))


def _read(table: Path) -> list[Labelled]:
    """Some utterances of a table, always the same."""
    columns, rows = csv_tables.read_table(table, ["path"])
    probed = [name for name in COLUMNS if name in columns]
    found = []
    for line, row in rows:
        where = f"{table}, line {line}"
        labels = {name: row[name] for name in probed if row[name]}
        given = csv_tables.split_of(row.get("split", ""), where)
        by_speaker = given or _drawn(row.get("speaker") or row["path"])
        sides = {n: _drawn(row["path"]) if n == "speaker" else by_speaker for n in labels}
        found.append(Labelled(table.parent / user_path(row["path"]), row["path"], labels, sides))
    return sorted(found, key=lambda item: stable_hash("online probe", item.id))[:UTTERANCES]


def _drawn(unit: str) -> str:
    """The side that a speaker, or an utterance, is on: always the same."""
    return TEST if stable_hash("online probe", unit) / 2**64 < TESTED else TRAIN
