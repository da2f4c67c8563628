"""A resumed training goes on with the learning rate it had."""

from types import SimpleNamespace

import torch

from upstream import compat


def test_the_rate_of_the_loaded_state_is_used():
    compat.install()
    from s3prl.downstream.runner import Runner
    from s3prl.schedulers import get_scheduler

    schedule = {"name": "sqrt_decay_schedule_with_warmup", "num_warmup_steps": 10}

    def begin():
        return torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=1.0)

    optimizer = begin()
    scheduler = get_scheduler(optimizer, 100, schedule)
    for _ in range(3):
        optimizer.step()
        scheduler.step()
    ckpt = {"Scheduler": scheduler.state_dict(), "Optimizer": optimizer.state_dict()}
    resumed = begin()
    resumed.load_state_dict(ckpt["Optimizer"])
    config = {"runner": {"total_steps": 100}, "scheduler": schedule}
    args = SimpleNamespace(init_ckpt=None)
    runner = SimpleNamespace(config=config, init_ckpt=ckpt, args=args)
    runner._load_weight = lambda model, name: model.load_state_dict(ckpt[name])
    again = Runner._get_scheduler(runner, resumed)
    assert resumed.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"] == 0.3
    again.step()
    assert resumed.param_groups[0]["lr"] == 0.4
    assert not compat.scheduler_resume.install()
