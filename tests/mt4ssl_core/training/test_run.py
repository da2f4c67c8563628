"""What both kinds of training do around an update."""

from types import SimpleNamespace

import pytest

from mt4ssl_core.finetuning import finetune
from mt4ssl_core.training import pretrain, run


@pytest.mark.parametrize(
    ("loop", "said"),
    [(pretrain, r"raise masking\.prob"), (finetune, r"no utterance .*skipped\.txt names")],
)
def test_a_run_that_has_nothing_to_learn_from_says_its_own_remedy(loop, said):
    world = SimpleNamespace(sum=lambda values: values)
    skips = SimpleNamespace(
        row=0, meet=lambda _: (0, 0.0), count_all=lambda *_: None, too_much=lambda _: None
    )
    progress = SimpleNamespace(update=7)
    idle = SimpleNamespace(
        training=SimpleNamespace(world=world, progress=progress),
        saver=SimpleNamespace(is_writing=False, wait=lambda: None),
        skips=skips, requested=[], targets=[], idle=0, nothing=loop.NOTHING,
    )  # fmt: skip
    for _ in range(run._IDLE):
        assert run.survey(idle, [], 0.0, None) is None
    with pytest.raises(ValueError, match=f"nothing to learn in 1000 batches in a row: .*{said}"):
        run.survey(idle, [], 0.0, None)
