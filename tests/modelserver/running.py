"""A model server in its own process, and plain HTTP to it."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import purser

PATIENCE_SECONDS = 30
CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"
EMBEDDINGS = "/v1/embeddings"
SOURCES = str(Path(purser.__file__).parent.parent)


@contextmanager
def process(*options: str) -> Iterator[subprocess.Popen[str]]:
    """The command with these options, ended when the block ends."""
    child = subprocess.Popen(
        [sys.executable, "-m", "purser.modelserver", *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": SOURCES},
    )
    with child:
        try:
            yield child
        finally:
            child.kill()


def ready_port(child: subprocess.Popen[str]) -> int:
    """The port out of the line that says the server is ready."""
    assert child.stdout is not None
    words = child.stdout.readline().split()
    assert words[:3] == ["modelserver", "ready", "on"], words
    return int(words[3].removesuffix("/v1").rpartition(":")[2])


class Running:
    """A running server: requests by http.client, each on a connection of its own."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.base_url = f"http://127.0.0.1:{port}/v1"

    def call(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (lower-case) and body; http.client's errors come through."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        try:
            data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
            connection.request(method, path, data, headers or {})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        """The JSON at a path."""
        status, _, body = self.call("GET", path)
        assert status == 200, body
        return json.loads(body)

    def post(self, path: str, body: dict[str, Any], fail: str | None = None, **headers: str) -> Any:
        """The JSON answer to a request that must succeed."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if fail is not None:
            named["x-model-fail"] = fail
        status, _, answer = self.call("POST", path, body, named)
        assert status == 200, answer
        return json.loads(answer)

    def events(self, path: str, body: dict[str, Any], fail: str | None = None, **headers: str) -> list[Any]:
        """The chunks of a stream that must end with `[DONE]`, without it."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if fail is not None:
            named["x-model-fail"] = fail
        status, told, answer = self.call("POST", path, {**body, "stream": True}, named)
        assert status == 200, answer
        assert told["content-type"].startswith("text/event-stream")
        lines = [line for line in answer.decode().split("\n\n") if line]
        assert lines.pop() == "data: [DONE]"
        return [json.loads(line.removeprefix("data: ")) for line in lines]

    def logged(self, request_id: str) -> Any:
        """What the log says of a request, None if it has not come in."""
        found = [each for each in self.get("/v1/counters")["requests"] if each["request_id"] == request_id]
        return found[-1] if found else None

    def ended(self, request_id: str) -> Any:
        """The log's entry of a request once it is over."""
        return self.once(request_id, lambda entry: bool(entry["outcome"] != "running"))

    def once(self, request_id: str, holds: Callable[[Any], bool]) -> Any:
        """The log's entry of a request once this holds for it."""
        for _ in range(PATIENCE_SECONDS * 50):
            entry = self.logged(request_id)
            if entry is not None and holds(entry):
                return entry
            time.sleep(0.02)
        raise AssertionError(f"{request_id}: still {entry}")

    def open(self, path: str, body: dict[str, Any], headers: dict[str, str]) -> socket.socket:
        """A socket on which the request has been sent."""
        data = json.dumps(body).encode()
        lines = [f"POST {path} HTTP/1.1", "Host: modelserver", f"Content-Length: {len(data)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        line = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_SECONDS)
        line.sendall("\r\n".join([*lines, "", ""]).encode() + data)
        return line


def chat(text: str, **fields: Any) -> dict[str, Any]:
    """A chat body with one user message."""
    return {"model": "tiny", "messages": [{"role": "user", "content": text}], **fields}


def text_of(chunks: list[Any], index: int = 0) -> str:
    """The text a stream's chunks give one choice."""
    parts: list[str] = []
    for chunk in chunks:
        for choice in chunk["choices"]:
            if choice["index"] == index:
                parts.append(choice["text"] if "text" in choice else choice["delta"].get("content") or "")
    return "".join(parts)
