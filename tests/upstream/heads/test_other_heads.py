"""The other heads that tasks have are ones that s3prl builds from their settings."""

import pytest
import torch

from upstream.door import overrides, s3prl_names, tasks

WITH = [
    (task, kind) for task, header in tasks.headers().items() for kind in header.get("heads", {})
]


def changed(task, kind):
    config = tasks.read(tasks.path_of(task))
    overrides.override(overrides.render(config["superb"]["heads"][kind]), None, config, quiet=True)
    s3prl_names.check_config(config["superb"]["s3prl"], config)
    return config["downstream_expert"]


def built(task, settings):
    from s3prl.downstream import model
    from s3prl.downstream.asr.model import RNNs
    from s3prl.downstream.diarization.model import Model

    if task == "sd":
        return Model(16, output_class_num=2, **settings["modelrc"])
    chosen = settings["model" if task == "pr" else "modelrc"]
    kinds = {"UtteranceLevel": model.UtteranceLevel, "RNNs": RNNs}
    rate = {"upstream_rate": 320} if task == "pr" else {}
    return kinds[chosen["select"]](16, 5, **rate, **chosen[chosen["select"]])


@pytest.mark.parametrize(("task", "kind"), WITH)
def test_a_deeper_head_is_built_and_learns(task, kind):
    head = built(task, changed(task, kind))
    official = (
        built(task, tasks.read(tasks.path_of(task))["downstream_expert"]) if task != "pr" else None
    )
    frames = torch.randn(2, 30, 16)
    found = head(frames) if task == "sd" else head(frames, torch.tensor([30, 20]))[0]
    found.sum().backward()
    assert all(weight.grad is not None for weight in head.parameters())
    if official is not None:
        sizes = [sum(w.numel() for w in each.parameters()) for each in (head, official)]
        assert sizes[0] > sizes[1]


def test_some_tasks_have_them():
    assert {task for task, _ in WITH} == {"er", "ic", "ks", "pr", "sd", "sid"}
