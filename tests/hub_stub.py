"""Hugging Face's hub on this machine, as far as models are downloaded and pushed."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

COMMIT = "c0" * 20
GATED = "org/gated"


class Hub(ThreadingHTTPServer):
    """Serves ``files[name][file]`` and remembers what was asked for."""

    files: dict[str, dict[str, bytes]]
    asked: list[str]
    made: dict[str, dict[str, Any]]  # models that were created, as it was asked for
    refuses: int  # the status of every upload, if not 0


class Answer(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self.do_GET(body=False)

    def do_GET(self, body: bool = True) -> None:
        path = self.path.split("?")[0]
        name = "/".join(path.removeprefix("/api/models").strip("/").split("/")[:2])
        if name == GATED:
            return self._answer(403, b"{}", {"X-Error-Code": "GatedRepo"}, body)
        if name not in self.server.files:
            return self._answer(404, b"{}", {"X-Error-Code": "RepoNotFound"}, body)
        files = self.server.files[name]
        if "/revision/" in path and path.rsplit("/", 1)[1] not in ("main", COMMIT):
            return self._answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"}, body)
        if path.startswith("/api/") and "/tree/" in path:
            rows = [
                {
                    "type": "file",
                    "path": key,
                    "size": len(data),
                    "oid": hashlib.sha1(data).hexdigest(),
                }
                for key, data in files.items()
            ]
            return self._answer(200, json.dumps(rows).encode(), {}, body)
        if path.startswith("/api/"):
            about = {"id": name, "sha": COMMIT, "siblings": [{"rfilename": key} for key in files]}
            return self._answer(200, json.dumps(about).encode(), {}, body)
        file = path.rsplit("/", 1)[1]
        if file not in files:
            return self._answer(404, b"", {"X-Error-Code": "EntryNotFound"}, body)
        if body:
            self.server.asked.append(file)
        tag = {"ETag": f'"{hashlib.sha256(files[file]).hexdigest()}"', "X-Repo-Commit": COMMIT}
        return self._answer(200, files[file], tag, body)

    def do_POST(self) -> None:
        """What pushing a folder needs: a model is made, its files go into one commit."""
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.refuses:
            said = json.dumps({"error": f"no, {self.headers['Authorization']}"}).encode()
            return self._answer(self.server.refuses, said, {}, True)
        path = self.path.split("?")[0]
        if path == "/api/repos/create":
            asked = json.loads(data)
            name = f"{asked['organization']}/{asked['name']}"
            if name in self.server.made:
                url = json.dumps(
                    {"error": "exists", "url": f"https://huggingface.co/{name}"}
                ).encode()
                return self._answer(409, url, {}, True)
            self.server.made[name] = asked
            return self._answer(
                200, json.dumps({"url": f"https://huggingface.co/{name}"}).encode(), {}, True
            )
        name = "/".join(path.removeprefix("/api/models/").split("/")[:2])
        if "/preupload/" in path:
            rows = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(data)["files"]
            ]
            return self._answer(200, json.dumps({"files": rows}).encode(), {}, True)
        if "/commit/" in path:
            lines = [json.loads(line) for line in data.splitlines()]
            files = [line["value"] for line in lines if line["key"] == "file"]
            there = self.server.files.setdefault(name, {})
            there |= {file["path"]: base64.b64decode(file["content"]) for file in files}
            done = {
                "commitUrl": f"https://huggingface.co/{name}/commit/{COMMIT}",
                "commitOid": COMMIT,
            }
            return self._answer(200, json.dumps(done).encode(), {}, True)
        return self._answer(200, b"{}", {}, True)  # validate-yaml

    def _answer(self, status: int, data: bytes, headers: dict[str, str], body: bool) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


def at(monkeypatch: pytest.MonkeyPatch, port: int, cache: Path) -> None:
    """Let the hub's client ask 127.0.0.1 and keep what it gets in `cache`."""
    address = f"http://127.0.0.1:{port}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE",
                        address + "/{repo_id}/resolve/{revision}/{filename}")  # fmt: skip
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


@contextmanager
def opened(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that the client asks until the end of the body."""
    server = Hub(("127.0.0.1", 0), Answer)
    server.files, server.asked, server.made, server.refuses = {}, [], {}, 0
    threading.Thread(target=server.serve_forever, daemon=True).start()
    at(monkeypatch, server.server_address[1], cache)
    yield server
    server.shutdown()
    server.server_close()
