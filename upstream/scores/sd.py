"""SUPERB's diarization error rate, from the speech probabilities that s3prl writes in testing.

As in SUPERB: no collar, overlap scored, and the best of five thresholds with and without a median
filter over 11 frames, chosen on the test set itself. s3prl's own ``der`` is another thing, the mean
over recordings at frame level with threshold 0.5; it is reported as ``frame_der``.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mt4ssl_core.files import reading, write_json
from upstream.corpora.rttm import Turn, read_rttm
from upstream.corpora.texts import read_text
from upstream.scores import diarization

THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)
MEDIANS = (1, 11)
GRID = "der.json"  # in the experiment's folder `scoring`


def score(
    expdir: Path, config: dict[str, Any], split: str, values: dict[str, float]
) -> dict[str, float]:
    """Return ``der`` of the test split, and s3prl's as ``frame_der``; all settings go to der.json.

    Other splits have no probabilities on disk: their ``der`` stays that of s3prl.

    Raises:
        ValueError: a recording of the test set has no probabilities or no reference.
    """
    if split != "test":
        return {"frame_der": values["der"]}
    totals = {(t, m): diarization.NONE for m in MEDIANS for t in THRESHOLDS}
    for _, speech, reference, shift in _tested(expdir, config):
        for threshold, median in totals:
            turns = diarization.turns_of(speech, threshold, median, shift)
            totals[threshold, median] += diarization.errors(reference, turns)
    grid = [{"threshold": t, "median": m, "der": e.rate, **vars(e)} for (t, m), e in totals.items()]
    write_json(expdir / "scoring" / GRID, sorted(grid, key=lambda entry: entry["der"]))
    return {"der": min(entry["der"] for entry in grid), "frame_der": values["der"]}


def errors_of(
    expdir: Path, config: dict[str, Any], threshold: float, median: int
) -> dict[str, diarization.Errors]:
    """Return the errors of every recording of the test set with one setting of the grid.

    Raises:
        ValueError: as of `score`.
    """
    return {
        recording: diarization.errors(
            reference, diarization.turns_of(speech, threshold, median, shift)
        )
        for recording, speech, reference, shift in _tested(expdir, config)
    }


def _tested(
    expdir: Path, config: dict[str, Any]
) -> Iterator[tuple[str, np.ndarray, list[Turn], float]]:
    """Yield each recording, its (frames, speakers) probabilities, true turns, seconds a frame."""
    settings = config["downstream_expert"]
    with reading(expdir / "frame_shift", "evaluate again"):
        frames = int((expdir / "frame_shift").read_text())
    shift = frames * settings["datarc"].get("subsampling", 1) / settings["datarc"]["rate"]
    test = Path(settings["loaderrc"]["test_dir"])
    reference = read_rttm(test / "rttm")
    for recording in _recordings(test):
        if recording not in reference:
            raise ValueError(f"{test / 'rttm'}: no turns of {recording}; prepare the corpus again")
        path = expdir / "scoring" / "predictions" / f"{recording}.h5"
        yield recording, _probabilities(path), reference[recording], shift


def _recordings(folder: Path) -> list[str]:
    lines = read_text(folder / "wav.scp").splitlines()
    return [line.split(None, 1)[0] for line in lines if line.strip()]


def _probabilities(path: Path) -> np.ndarray:
    import h5py

    if not path.is_file():
        raise ValueError(
            f"{path}: no such file; the test did not reach this recording, test again with "
            "downstream_expert.scorerc.save_predictions true and no runner.evaluate_ratio"
        )
    with h5py.File(path, "r") as file:
        return np.asarray(file["T_hat"])  # (frames, speakers)
