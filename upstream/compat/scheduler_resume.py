"""The learning rate of a training that is gone on with, where a scheduler sets it.

What: the first step after resuming is done with the learning rate of step 0: none at all where
    the schedule begins with a warm-up (speech translation, voice conversion).
Why: s3prl loads the optimizer's state before it makes the scheduler, and torch's schedulers set
    the first rate when they are made; loading the scheduler's state does not set it back.
Since: every release of s3prl with schedulers (0.4.18 too).
Here: after the scheduler's state is loaded, the optimizer gets the rate that state holds.
Delete when: s3prl's Runner makes the scheduler before it loads the optimizer.
"""

from typing import Any

from s3prl.downstream.runner import Runner


def install() -> bool:
    """Wrap the Runner's making of the scheduler."""
    make = Runner._get_scheduler
    if getattr(make, "sets_rate", False):
        return False

    def _get_scheduler(self: Any, optimizer: Any) -> Any:
        scheduler = make(self, optimizer)
        for group, rate in zip(optimizer.param_groups, scheduler.get_last_lr(), strict=True):
            group["lr"] = rate
        return scheduler

    _get_scheduler.sets_rate = True  # type: ignore[attr-defined]
    Runner._get_scheduler = _get_scheduler
    return True
