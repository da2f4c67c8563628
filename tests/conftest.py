"""No test touches the user's cache; tests of tasks whose extra is missing are skipped, aloud.

(Extras can be missing where there is no compiler.)
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from upstream.door import tasks

LACKING = {name: tasks.missing_packages(tasks.header(name)) for name in tasks.names()}
ALL_TASKS = {"test_every_task_gives_a_number_word_for_word"}
FILES = {  # beside test_task_NAME.py
    "vc": {"test_scores_vc.py", "test_scores_world.py", "test_compat_vc.py", "test_mini_vc.py"},
    "se": {"test_compat_separation.py", "test_separation_metrics.py"},
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need a missing package."""
    for name, packages in LACKING.items():
        files = {f"test_task_{name}.py", *FILES.get(name, ())}
        for item in items if packages else []:
            if item.path.name in files or item.name.split("[")[0] in ALL_TASKS:
                item.add_marker(pytest.mark.skip(reason=f"{name} needs {', '.join(packages)}"))


@pytest.fixture(autouse=True, scope="session")
def cache_for_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give all tests, and the processes they start, one new cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MT4SSL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Hugging Face's hub on this machine, and its cache; the test runs in ``tmp_path``."""
    from hub_stub import opened  # needs an extra

    with opened(tmp_path / "cache", monkeypatch) as server:
        monkeypatch.chdir(tmp_path)
        yield server
