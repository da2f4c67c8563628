"""Labels that lie in shards, one per frame of 20 ms, beside the audio that they belong to."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from lhotse.cut import Cut

from mt4ssl_core.data.label_lines import integers
from mt4ssl_core.data.labels import FRAME_RATE, TOLERANCE, Unusable
from mt4ssl_core.data.shards.shard_folder import LABEL_SPAN, ShardCuts, read_facts
from mt4ssl_core.data.shards.tar_members import REMEDY, read_member
from mt4ssl_core.settings.shards import FACTS


@dataclass(frozen=True)
class ShardLabels:
    """Reads the labels of a cut of shards when it is used; all are below ``num_classes``."""

    num_classes: int
    note: str = ""  # as of a `LabelStore`

    @classmethod
    def of(cls, cuts: ShardCuts, num_classes: int | None, label_rate: float) -> "ShardLabels":
        """Return the labels of these utterances.

        Raises:
            ValueError: naming the folder: it has none, or other classes than ``num_classes``; or a
                ``label_rate`` other than 50.
        """
        folder = cuts.folder
        known = read_facts(folder)["classes"]
        unlabelled = np.flatnonzero(~cuts.labelled())
        if known is None or len(unlabelled):
            first = f" (first {cuts.id(int(unlabelled[0]))})" if len(unlabelled) else ""
            raise ValueError(
                f"{folder}: {len(unlabelled)} utterances have no labels{first}; make the shards "
                "with --labels, or give data.labels, a .km that lists the same audio"
            )
        if num_classes not in (None, 0, known):
            raise ValueError(
                f"{folder / FACTS}: labels of {known} classes, but {num_classes} are configured; "
                f"set offline.num_classes={known}, or use other labels"
            )
        if label_rate != FRAME_RATE:
            raise ValueError(
                f"{folder}: the labels in shards are at {FRAME_RATE:g} per second; leave "
                "data.label_rate out (`mt4ssl data shard` has --label-rate)"
            )
        return cls(known)

    def of_cut(self, cut: Cut, num_frames: int) -> np.ndarray:
        """Return the class of each of the first frames of an utterance, (T,) int64.

        -1 at the end where a row within the tolerance has none.

        Raises:
            Unusable: they are not where the index has them, are no class ids, or are more than
                `TOLERANCE` frames too few or too many.
        """
        tar = Path(str(cut.recording.sources[0].source))
        name = f"{tar} (cut {cut.id})"
        try:
            labels = integers(read_member(tar, *cut.custom[LABEL_SPAN]))
        except (ValueError, OSError) as error:
            raise Unusable(f"{name}: its labels cannot be read ({error})") from None
        if labels is None or (
            labels.size and not 0 <= labels.min() <= labels.max() < self.num_classes
        ):
            raise Unusable(
                f"{name}: its labels are no class ids below {self.num_classes}; {REMEDY}"
            )
        if not labels.size or abs(len(labels) - num_frames) > TOLERANCE:
            raise Unusable(f"{name}: {len(labels)} labels for {num_frames} frames; {REMEDY}")
        return np.append(labels, [-1] * TOLERANCE)[:num_frames]
