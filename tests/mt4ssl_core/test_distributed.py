import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta

import pytest
import torch

from mt4ssl_core import distributed


@pytest.mark.parametrize("name", ["tpu", "meta", "cuda:one", ""])
def test_unknown_devices_are_refused_with_the_choices(name):
    with pytest.raises(ValueError, match="use auto, cpu, cuda or cuda:N"):
        distributed.choose_device(name)


def test_a_gpu_that_is_not_there_is_refused():
    many = f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(ValueError, match=r"no usable GPU|counted from"):
        distributed.choose_device(many)
    assert distributed.choose_device("cpu").type == "cpu"
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert distributed.choose_device("auto").type == expected


def test_one_process_is_its_own_world():
    world = distributed.start("cpu")
    assert (world.rank, world.size, world.is_main) == (0, 1, True)
    assert world.sum(torch.tensor([2.0])).item() == 2.0
    world.barrier()


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(
            "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:538] Read error: reset"
        ),
        RuntimeError("NCCL communicator was aborted on rank 0."),
        torch.distributed.DistNetworkError("Connection closed by peer"),
    ],
)
def test_a_lost_process_is_named_with_what_comes_next(error, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for restarts, said in (("0", "run the same command again"), ("1", "torchrun starts all of")):
        monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", restarts)
        both = rf"process 0 of 2 .* {said}"
        with pytest.raises(ConnectionError, match=both), distributed.peers("runs/a"):
            raise error


def test_other_errors_stay_what_they_are(monkeypatch):
    for size, text in (("2", "boom"), ("1", "gloo")):
        monkeypatch.setenv("WORLD_SIZE", size)
        with pytest.raises(RuntimeError, match=text), distributed.peers("runs/a"):
            raise RuntimeError(text)


@pytest.mark.parametrize("text", ["two", "", "-1", "1.5"])
def test_a_number_of_processes_that_is_none_is_refused(text, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", text)
    with pytest.raises(ValueError, match=rf"WORLD_SIZE='{text}': not a number; start with torch"):
        distributed.start("cpu")


def test_the_frames_of_an_error_stay_for_a_debugger_where_there_is_one_process():
    with pytest.raises(KeyError) as caught, distributed.joined("cpu", "runs/a", 1):
        _fail()
    assert caught.traceback[-1].frame.f_locals["here"] == 1


def _fail():
    here = 1
    raise KeyError(here)


def test_a_process_that_never_comes_is_waited_for_so_long_and_no_longer(monkeypatch):
    for name, value in {"WORLD_SIZE": 2, "RANK": 1, "MASTER_ADDR": "127.0.0.1"}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("MASTER_PORT", "1")  # where nobody answers
    said = r"process 1 of 2 of the run in runs/a lost another"
    together = distributed.joined("cpu", "runs/a", minutes=0.02)
    with pytest.raises(ConnectionError, match=said), together:
        pass


def test_a_start_meets_nothing_that_a_former_one_left():
    shared, wait = torch.distributed.HashStore(), timedelta(seconds=20)
    for _ in range(3):
        with ThreadPoolExecutor(1) as pool:
            sooner = pool.submit(distributed.of_this_start, shared, 1, 2, wait)
            time.sleep(0.1)  # and finds what the former start left
            first = distributed.of_this_start(shared, 0, 2, wait)
            second = sooner.result(20)
        assert not first.check(["address"])
        first.set("address", "here")
        assert second.get("address") == b"here"
    with pytest.raises(torch.distributed.DistError, match="did not come in"):
        distributed.of_this_start(shared, 1, 2, timedelta(seconds=0.1))


@pytest.mark.parametrize("error", [None, SystemExit(3), RuntimeError("gloo: reset")])
def test_a_model_does_not_outlive_the_group_of_processes(error, monkeypatch):
    """DDP's reducer would: it holds the group, and may then wait for ever for its threads."""

    class Model: ...

    def train():
        model = Model()
        model.itself = model  # as in DDP
        models.append(weakref.ref(model))
        if error is not None:
            raise error

    models, left = [], []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(distributed, "start", lambda *_: distributed.World(0, 2, "cpu"))
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(
        torch.distributed, "destroy_process_group", lambda: left.append(models[0]() is None)
    )
    with suppress(ConnectionError, SystemExit), distributed.joined("cpu", "runs/a", 1):
        train()
    assert left == [True]
