"""`make docs`: the pages build strictly, fetch nothing, and are right in a browser."""

import importlib.util
import os
import re
import subprocess
import sys
import time

import browser
import pytest
import toy
from docs_pages import PAGES


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built pages; strict: a broken link or an unknown name stops the build."""
    for name in ("mkdocs", "material", "mkdocstrings"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is missing: pip install '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=toy.ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.slow
def test_the_built_pages_fetch_nothing(site):
    built = list(site.rglob("*.html"))
    assert len(built) > len(PAGES) + 5
    for path in built:
        tags = re.findall(r"<(?:script|img|link|iframe|source)\b[^>]*>", path.read_text())
        assert not [t for t in tags if re.search(r'(?:src|href)="(?:https?:)?//', t)], path
    style = "".join(path.read_text() for path in site.rglob("*.css"))
    assert not re.findall(r"url\(['\"]?https?:", style)


@pytest.mark.slow
@pytest.mark.skipif(not browser.PROGRAM, reason="needs Chromium: apt-get install chromium")
def test_the_built_pages_in_a_browser(site):
    """Opened as files: no errors, nothing from the network, no scrolling sideways, search works."""
    with browser.chromium() as tab:
        for page in PAGES:
            for width, scheme in ((1280, "light"), (390, "dark")):
                tab.size(width, 900, mobile=width < 500)
                tab.media(scheme)
                tab.open(site / f"{page}.html")
                assert tab.run("document.documentElement.scrollWidth") <= width, page
        tab.size(1280, 900)
        field = "document.querySelector('.md-search__input')"
        tab.run(f"{field}.focus(), {field}.value = 'layerdrop'")
        deadline = time.monotonic() + 180
        while "EncoderConfig" not in tab.run("document.querySelector('.md-search').innerText"):
            assert time.monotonic() < deadline, "no result of the search"
            tab.run(f"{field}.dispatchEvent(new Event('keyup'))")
            time.sleep(0.2)
        assert not tab.problems
        assert not [url for url in tab.requests if not url.startswith(("file:", "data:"))]
