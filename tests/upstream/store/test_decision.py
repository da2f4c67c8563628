"""Which tasks are stored, and what makes a result of the store another one."""

import pytest

from upstream.door import tasks
from upstream.store.decision import planned
from upstream.store.options import StoreOptions

AUTO, FRAMES, OFF = StoreOptions(), StoreOptions("frames"), StoreOptions("off")


def test_which_tasks_are_stored():
    def kept(options, batch_dependent=False):
        headers = [tasks.header(name) for name in tasks.names()]
        return {h["code"] for h in headers if planned(options, h, batch_dependent)}

    pooled = {"ks", "ic", "sid", "er"}
    frames = {"pr", "asr", "sf", "ood", "sd", "asv", "qbe"}
    assert kept(AUTO) == pooled and kept(OFF) == set()
    assert kept(FRAMES) == pooled | frames
    assert kept(AUTO, batch_dependent=True) == set()
    assert kept(StoreOptions(alone=True), batch_dependent=True) == pooled


@pytest.mark.parametrize(
    ("task", "options", "batch_dependent", "changed", "found"),
    [
        ("ks", AUTO, False, (), {}),
        ("ks", FRAMES, False, (), {}),  # means are fp32
        ("ks", StoreOptions(crops=4), False, (), {"crops": 4}),
        ("ic", StoreOptions(crops=4), False, (), {}),  # nothing is cropped
        ("pr", AUTO, False, (), {}),
        ("pr", StoreOptions(precision="int8"), False, (), {}),  # nothing is stored
        ("pr", FRAMES, False, (), {"precision": "fp16"}),
        ("pr", StoreOptions("frames", precision="fp32"), False, (), {}),
        ("pr", StoreOptions(alone=True), True, (), {}),
        ("er", StoreOptions(alone=True), False, (), {}),  # alone or not is the same
        ("er", StoreOptions(alone=True), True, (), {"alone": True}),
        ("asv", StoreOptions("frames", crops=2), False, (), {"precision": "fp16", "crops": 2}),
        ("ks", FRAMES, False, ["downstream_expert.modelrc.select"], {"precision": "fp16"}),
        ("ks", AUTO, False, ["downstream_expert.modelrc.select"], {}),
        ("se", FRAMES, False, (), {}),
    ],
)
def test_what_changes_a_result(task, options, batch_dependent, changed, found):
    stored = planned(options, tasks.header(task), batch_dependent, changed)
    assert (stored.deviations if stored else {}) == found
