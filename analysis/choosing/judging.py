"""What decides between checkpoints: monitors without labels, or probes with them."""

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.choosing import signals
from analysis.choosing.candidates import Candidate
from analysis.choosing.choice_request import ChoiceRequest
from analysis.choosing.ranking import Criterion
from analysis.labelled_speech.speech import read_speech
from analysis.probes import layer_features, probe_tasks
from analysis.probes.kept_scores import KeptScores
from analysis.probes.probe_request import probe_names
from analysis.records.attempts import Attempts
from mt4ssl_core.bars import Bar

Values = dict[str, float]


@dataclass(frozen=True)
class Judged:
    """A candidate with what decides: of itself, and of each of its layers.

    ``shown``: what tables say, where it is something else (scores on test data).
    """

    candidate: Candidate
    values: Values
    layers: list[Values]
    shown: Values


def by_signals(
    found: Sequence[Candidate], asked: ChoiceRequest, broken: list[str]
) -> tuple[list[Judged], str]:
    """Measure every checkpoint without labels; return what came out, and of which audio.

    ``broken`` gets a line on each that cannot be looked at.

    Raises:
        ValueError: no audio, or no checkpoint that can be read.
    """
    waves, source = signals.sample(found, asked.audio)
    judged, attempts = [], Attempts(broken)
    with Bar("looking at checkpoint", len(found)) as bar:
        for candidate in bar.over(found):
            bar.show(of=candidate.name)
            with attempts.one():
                features = layer_features.open_upstream(candidate.path, device=asked.device)
                layers = signals.of_layers(features, waves, asked.seed)
                candidate.check_update()
                values = signals.of_checkpoint(candidate, layers)
                judged.append(Judged(candidate, values, layers, values))
    attempts.close(judged)
    return judged, source


def by_probes(
    found: Sequence[Candidate], asked: ChoiceRequest, notes: list[str], broken: list[str]
) -> tuple[list[Judged], list[Criterion], str]:
    """Probe every checkpoint: on training data held out, and as ``shown`` on the test data.

    What was probed of a run is kept in its folder (`analysis.probes.kept_scores`). Returns this,
    what decides, and the sources of the speech; ``notes`` and ``broken`` get lines.

    Raises:
        ValueError: labels that allow no probe, or no checkpoint that can be read.
    """
    utterances = read_speech(asked.labels, asked.alignments, notes)
    names = None if asked.probes is None else probe_names(asked.probes)
    chosen, lacking = probe_tasks.possible_probes(utterances, names, asked.minutes)
    (broken if names else notes).extend(f"not probed: {why}" for why in lacking)
    judged, attempts = [], Attempts(broken)
    directions: dict[str, str] = {}
    scores = KeptScores(utterances, asked.seed, asked.minutes, device=asked.device)
    with Bar("probing checkpoint", len(found)) as bar:
        for candidate in bar.over(found):
            bar.show(of=candidate.name)
            with attempts.one():
                run = None if candidate.run is None else candidate.run.folder
                rows = scores.score_layers(run, candidate.path, [task.name for task in chosen])
                candidate.check_update()
                directions |= {row["measure"]: row["direction"] for row in rows}
                layers: list[Values] = [{} for _ in range(max(r["layer"] for r in rows) + 1)]
                rows = [row for row in rows if None not in (row["held_out"], row["value"])]
                for row in rows:
                    layers[row["layer"]][row["measure"]] = row["held_out"]
                best = [row for row in rows if row["chosen"]]
                values = {row["measure"]: row["held_out"] for row in best}
                shown = {row["measure"]: row["value"] for row in best}
                judged.append(Judged(candidate, values, layers, shown))
    attempts.close(judged)
    criteria = [Criterion(name, f"probe {name}", way, 1.0) for name, way in directions.items()]
    return judged, criteria, " ".join(str(source) for source in asked.labels)
