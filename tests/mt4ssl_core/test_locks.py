import json
import os
import subprocess
import sys
import threading
import time

import pytest

from mt4ssl_core import files, locks
from mt4ssl_core.locks import lock


def test_a_second_owner_is_told_who_the_first_is(tmp_path):
    path = tmp_path / "run.lock"
    with lock(path, "runs/a"):
        message = rf"runs/a is in use by process {os.getpid()} on .*"
        with pytest.raises(ValueError, match=message), lock(path, "runs/a"):
            pass
        assert {"host", "pid", "since"} <= json.loads(path.read_text()).keys()
    assert not path.exists()
    with lock(path, "runs/a"):
        pass


def test_another_process_is_refused_too_and_a_killed_one_leaves_nothing_to_clear(tmp_path):
    path = tmp_path / "run.lock"
    code = (
        "import sys, time\nfrom mt4ssl_core.locks import lock\n"
        f"with lock({str(path)!r}, 'x'):\n    print('held', flush=True); time.sleep(600)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    with pytest.raises(ValueError, match=f"process {process.pid}"), lock(path, "x"):
        pass
    process.kill()
    process.wait()
    with lock(path, "x"):
        pass


def test_others_see_whether_the_owner_is_there(tmp_path):
    path = tmp_path / "run.lock"
    with lock(path, "x") as token:
        assert locks.held(path, token) and not locks.held(path, "another")
        owner = json.loads(path.read_text())
        path.write_text(json.dumps(owner | {"process_started": "1"}))  # its number is another's
        assert not locks.held(path, token)
        path.write_text(json.dumps(owner | {"machine": "0123abcd"}))
        assert locks.held(path, token)
        os.utime(path, (time.time() - 2 * locks.SILENCE,) * 2)
        assert not locks.held(path, token)
    assert not locks.held(path, token)


def test_a_patient_owner_waits(tmp_path):
    path, order = tmp_path / "run.lock", []

    def first():
        with lock(path, "x"):
            order.append("first")
            time.sleep(0.5)

    thread = threading.Thread(target=first)
    thread.start()
    while not order:
        time.sleep(0.01)
    with lock(path, "x", patience=300.0):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]


def claim(path, **changes):
    owner = {"host": "far", "pid": 1, "machine": "0123abcd", "token": "t", "since": "then"}
    path.write_text(json.dumps(owner | changes))


def test_a_number_given_to_another_process_since_is_no_owner(tmp_path):
    path = tmp_path / "run.lock"
    claim(path, machine=files.machine(), pid=os.getpid(), process_started="1")
    with lock(path, "x"):
        pass


@pytest.mark.parametrize("silent", [True, False])
def test_another_machine_owns_it_while_it_gives_signs_of_life(tmp_path, silent):
    path = tmp_path / "run.lock"
    claim(path)
    if silent:
        os.utime(path, (time.time() - 2 * locks.SILENCE,) * 2)
        with lock(path, "x"):
            pass
    else:
        with pytest.raises(ValueError, match=rf"on far since then.*remove {path}"), lock(path, "x"):
            pass


def test_the_owner_gives_signs_of_life(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "BEAT", 0.01)
    path = tmp_path / "run.lock"
    with lock(path, "x"):
        os.utime(path, (0, 0))
        deadline = time.time() + 300
        while path.stat().st_mtime == 0 and time.time() < deadline:
            time.sleep(0.01)
        assert path.stat().st_mtime > 0


@pytest.mark.parametrize("content", ["", "{", "[]", '{"machine": 3}'])
def test_a_lock_file_that_says_nothing_is_an_unknown_owners(tmp_path, content):
    path = tmp_path / "run.lock"
    path.write_text(content)
    with pytest.raises(ValueError, match=f"remove {path}"), lock(path, "x"):
        pass


@pytest.mark.parametrize("links", [True, False])
def test_of_many_at_once_one_gets_it(tmp_path, monkeypatch, links):
    if not links:

        def no_links(*_):
            raise PermissionError("no hard links here")

        monkeypatch.setattr(os, "link", no_links)
    path = tmp_path / "run.lock"
    claim(path, machine=files.machine(), pid=2**22 + 1)  # above every number: dead
    start, release = threading.Barrier(8), threading.Event()
    got, refused = [], []

    def attempt(number):
        start.wait()
        try:
            with lock(path, "x"):
                got.append(number)
                release.wait(300)
        except ValueError:
            refused.append(number)

    threads = [threading.Thread(target=attempt, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    deadline = time.time() + 300
    while len(got) + len(refused) < 8 and time.time() < deadline:
        time.sleep(0.01)
    release.set()
    for thread in threads:
        thread.join()
    assert len(got) == 1 and len(refused) == 7
