"""What ``mt4ssl export`` does: the folder, its card with scores, and the hub."""

from pathlib import Path

from mt4ssl_core.checkpoints import convert
from mt4ssl_core.checkpoints.foreign.export import push as pushing
from mt4ssl_core.checkpoints.foreign.export.card import Card
from mt4ssl_core.checkpoints.foreign.export.language_model import ForeignLM
from mt4ssl_core.files import reading, user_path
from mt4ssl_core.settings.export_formats import WITH_CARD
from mt4ssl_core.settings.recognition_defaults import BeamSettings


def export(
    checkpoint: str,
    out: str,
    to: str,
    *,
    superb: str | None = None,
    license: str | None = None,
    datasets: str | None = None,
    about: str | None = None,
    push: str | None = None,
    public: bool = False,
    lm: str | None = None,
    lm_weight: float = BeamSettings.lm_weight,
    word_score: float = BeamSettings.word_score,
) -> None:
    """Write the folder and say what there is to know of it; then push it, if asked for.

    Raises:
        ValueError: options that do not go together, or as `convert.export`, `superb_card.scores_of`
            and `pushing.push`.
    """
    for_card = {"superb": superb, "license": license, "datasets": datasets, "about": about}
    for name, value in for_card.items():
        if value is not None and to not in WITH_CARD:
            raise ValueError(
                f"--{name} is for the model card, and --to {to} has none; leave it out"
            )
    weights = BeamSettings(lm_weight=lm_weight, word_score=word_score)
    if lm is None and weights != BeamSettings():
        raise ValueError("--lm-weight, --word-score: they weigh a language model; give --lm")
    if public and push is None:
        raise ValueError("--public: nothing is pushed; give --push ORG/NAME, or leave it out")
    if push is not None:
        pushing.check(push)
    scores, files = _scores(superb, checkpoint)
    section = "\n\n".join(part.strip() for part in (scores, _text(about)) if part)
    card = Card(push, license, _names(datasets), section, files)
    model = None if lm is None else ForeignLM(user_path(lm), weights.lm_weight, weights.word_score)
    written = convert.export(checkpoint, out, to, card, model)
    print(f"written: {written}")
    if note := convert.export_note(written):
        print(f"note: {note}")
    if push is not None:
        print(f"pushed: {pushing.push(Path(written), push, private=not public)}")


def _text(about: str | None) -> str:
    if about is None:
        return ""
    with reading(about, "give a file of Markdown"):
        return Path(about).read_text(encoding="utf-8")


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def _scores(run: str | None, checkpoint: str) -> tuple[str, dict[str, bytes]]:
    if run is None:
        return "", {}
    from analysis import superb_card  # imports matplotlib

    return superb_card.scores_of(run, checkpoint)
