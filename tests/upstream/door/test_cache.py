import hashlib
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from upstream.door import cache


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MT4SSL_CACHE", str(tmp_path / "cache"))


def test_folder_follows_the_environment(tmp_path, monkeypatch):
    assert cache.folder() == tmp_path / "cache"
    monkeypatch.delenv("MT4SSL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.folder() == tmp_path / "mt4ssl"


def test_fetch_copies_once_and_again_on_request(tmp_path):
    source = tmp_path / "model.pt"
    source.write_bytes(b"one")
    copy = cache.fetch(source.as_uri())
    assert copy.read_bytes() == b"one"
    assert copy.name.endswith("-model.pt")
    source.write_bytes(b"two")
    assert cache.fetch(source.as_uri()).read_bytes() == b"one"
    assert cache.fetch(source.as_uri(), refresh=True).read_bytes() == b"two"


@pytest.mark.parametrize("url", ["ftp://host/x", "model.pt"])
def test_other_urls_are_refused(url):
    assert not cache.is_url(url)
    with pytest.raises(ValueError, match="not a URL"):
        cache.fetch(url)


def test_a_missing_source_is_named_and_leaves_nothing(tmp_path):
    url = (tmp_path / "gone.pt").as_uri()
    with pytest.raises(ValueError, match=r"gone\.pt: download failed"):
        cache.fetch(url)
    assert not list((tmp_path / "cache").rglob("*.p*"))


def test_a_download_that_is_cut_off_leaves_nothing(tmp_path):
    class Short(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"half")

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Short) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        with pytest.raises(ValueError, match="cut off"):
            cache.fetch(f"http://127.0.0.1:{server.server_port}/model.pt")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_server_that_falls_silent_is_named(monkeypatch):
    monkeypatch.setattr(cache, "TIMEOUT", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/model.pt"
        with pytest.raises(ValueError, match=r"model\.pt: download failed .*timed out"):
            cache.fetch(url)


def test_fingerprint_of_a_file_and_a_folder(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    expected = hashlib.sha256(b"weights").hexdigest()[:16]
    assert (
        cache.file_fingerprint(tmp_path)
        == cache.file_fingerprint(tmp_path / "model.safetensors")
        == expected
    )
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        cache.file_fingerprint(tmp_path / "empty")
