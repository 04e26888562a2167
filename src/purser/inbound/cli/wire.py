"""Requests to Purser over HTTP, and what its refusals become for whoever sits at the terminal."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, quote, urlencode, urlsplit

from purser.inbound.cli.failure import ERROR, EXIT_CODES, USAGE, Failure, usage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from http.client import HTTPConnection, HTTPResponse

DEFAULT_URL = "http://127.0.0.1:8080"
SECONDS = 30
LONG_SECONDS = 3600  # closing a month, auditing and moving the clock answer when all of it is done
MOST_PAGES = 10_000
_PIECE = 64 * 1024
_NEXT_STEPS = {
    401: "Give a key with --api-key or PURSER_API_KEY, or keep one with: purser login",
    429: "Wait a moment and run it again; with a payment method on file far more requests a minute are allowed.",
    412: "See what lifts it with: purser status",
    503: "Nothing was changed; run it again in a moment.",
}


def at(*parts: str) -> str:
    """A path of these segments, each quoted: at("v1", "accounts", "ada") is "/v1/accounts/ada"."""
    if not all(parts):
        raise usage("an id or name is empty")
    return "".join("/" + quote(part, safe="") for part in parts)


def _split(url: str) -> SplitResult:
    """Purser's address in its parts; raises Failure for what is no address."""
    try:
        split = urlsplit(url)
        _ = split.port
    except ValueError as error:
        raise usage(f"--url {url}: {error}", f"An address is like {DEFAULT_URL}.") from None
    if split.scheme not in ("http", "https") or not split.hostname or not url.isascii() or not url.isprintable():
        raise usage(f"--url {url} is not an address", f"An address is like {DEFAULT_URL}.")
    return split


class Caller:
    """Calls one Purser with one key; every method raises Failure in words a person can act on."""

    def __init__(self, url: str, key: str | None, *, operator: bool = False) -> None:
        split = _split(url)
        self.url, self.key, self.operator = url.rstrip("/"), key, operator
        self._secure = split.scheme == "https"
        self._host, self._port, self._path = split.hostname or "", split.port, split.path.rstrip("/")
        if key is not None and not (key.isascii() and key.isprintable() and " " not in key):
            raise usage(
                "the key holds characters that no key of Purser has", "Copy it again, without spaces or quotes."
            )

    def get(self, path: str, query: Mapping[str, Any] | None = None, *, seconds: int = SECONDS) -> Any:
        """The JSON answer to a GET; what is None in `query` is left out."""
        given = {name: value for name, value in (query or {}).items() if value is not None}
        return self._call("GET", f"{path}?{urlencode(given)}" if given else path, None, seconds)

    def pages(self, path: str, plural: str, query: Mapping[str, Any] | None = None) -> Any:
        """A list with every page of it under `plural`."""
        whole = self.get(path, query)
        token, seen = whole.pop("nextPageToken", ""), 0
        while token and seen < MOST_PAGES:
            page = self.get(path, {**(query or {}), "pageToken": token})
            whole[plural] += page.get(plural, [])
            token, seen = page.get("nextPageToken", ""), seen + 1
        return whole

    def post(self, path: str, body: object, *, seconds: int = SECONDS, dry_run: bool = False) -> Any:
        """The JSON answer to a POST."""
        return self._call("POST", _tried(path) if dry_run else path, body, seconds)

    def patch(self, path: str, body: object, *, dry_run: bool = False) -> Any:
        """The JSON answer to a PATCH."""
        return self._call("PATCH", _tried(path) if dry_run else path, body, SECONDS)

    def delete(self, path: str, *, dry_run: bool = False) -> Any:
        """The JSON answer to a DELETE, None where it has no body; a dry run changes nothing."""
        return self._call("DELETE", _tried(path) if dry_run else path, None, SECONDS)

    @contextmanager
    def reading(self, path: str, query: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, str], Iterator[bytes]]]:
        """The answer to a GET as it comes, which need not be JSON: its headers (lower-case) and its pieces."""
        connection = self._connect(LONG_SECONDS)
        try:
            with self._failing(LONG_SECONDS):
                connection.request("GET", f"{self._path}{path}?{urlencode(query)}", headers=self._headers("*/*"))
                answer = connection.getresponse()
                headers = {name.lower(): value for name, value in answer.getheaders()}
                content = b"" if answer.status == 200 else answer.read()
            if answer.status != 200:
                self._read(answer.status, headers, content)
            yield headers, self._pieces(answer)
        finally:
            connection.close()

    def _pieces(self, answer: HTTPResponse) -> Iterator[bytes]:
        while True:
            with self._failing(LONG_SECONDS):
                piece = answer.read(_PIECE)
            if not piece:
                return
            yield piece

    def _headers(self, accept: str) -> dict[str, str]:
        headers = {"Accept": accept, "User-Agent": "purser-cli"}
        if self.key is not None:
            headers["Authorization"] = f"Bearer {self.key}"
        return headers

    def _call(self, method: str, path: str, body: object, seconds: int) -> Any:
        """One request; one whose connection breaks is sent once more, which its Idempotency-Key makes safe."""
        import http.client
        import secrets

        headers = self._headers("application/json")
        if method != "GET":
            headers["Idempotency-Key"] = secrets.token_hex(16)
        data = None
        if body is not None:
            headers["Content-Type"], data = "application/json", json.dumps(body).encode()
        request = (method, self._path + path, data, headers)
        with self._failing(seconds):
            try:
                status, named, content = self._exchange(request, seconds)
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                status, named, content = self._exchange(request, seconds)
        return self._read(status, named, content)

    @contextmanager
    def _failing(self, seconds: int) -> Iterator[None]:
        """What goes wrong with a connection, in words."""
        import http.client

        try:
            yield
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            raise Failure(f"{self.url} broke the connection twice without an answer") from None
        except TimeoutError:
            raise Failure(
                f"{self.url} did not answer within {seconds} seconds",
                then="It may still be at work: look before you repeat it.",
            ) from None
        except http.client.IncompleteRead:
            raise Failure(f"{self.url} broke its answer off", then="Nothing of it counts; run it again.") from None
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from None

    def _exchange(
        self, request: tuple[str, str, bytes | None, dict[str, str]], seconds: int
    ) -> tuple[int, dict[str, str], bytes]:
        """One request on a connection of its own: status, headers (lower-case) and content."""
        connection = self._connect(seconds)
        try:
            connection.request(*request)
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def _connect(self, seconds: int) -> HTTPConnection:
        import http.client

        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        return kind(self._host, self._port, timeout=seconds)

    def _unreachable(self, error: Exception) -> Failure:
        if isinstance(error, ConnectionRefusedError):
            return Failure(
                f"Purser is not running at {self.url}",
                then="Start it with: purser serve (or purser demo), or name another with --url or PURSER_URL.",
            )
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return Failure(f"{self.url} cannot be reached: {why}", then="Check --url, PURSER_URL or your profile.")

    def _read(self, status: int, headers: Mapping[str, str], content: bytes) -> Any:
        try:
            answer = json.loads(content) if content else None
        except ValueError:
            answer = content
        if status < 300 and not isinstance(answer, bytes):
            return answer
        if not isinstance(answer, dict):
            raise Failure(
                f"{self.url} answered {status} with something that is not Purser's JSON",
                code=EXIT_CODES.get(status, ERROR),
                then="Check that --url names Purser's own address.",
            )
        raise self._refused(status, headers, answer)

    def _refused(self, status: int, headers: Mapping[str, str], answer: Mapping[str, Any]) -> Failure:
        inner = answer.get("error")
        error = inner if isinstance(inner, dict) else answer
        says = error.get("detail") or error.get("message") or error.get("title") or f"it answered {status}"
        then = _NEXT_STEPS.get(status, "")
        if status == 403:
            then = (
                "The operator key may do this: give it with --operator-key or PURSER_OPERATOR_KEY."
                if not self.operator
                else "This is not the operator's to do."
            )
        if status == 404 and not self.operator and _is_of_account(answer):
            then = "An API key opens its own account alone; the operator's key opens every one: --operator-key"
        if status == 429 and headers.get("retry-after", "").isdigit():
            then = f"Run it again in {headers['retry-after']} seconds."
        request = str(answer.get("request_id") or headers.get("x-request-id") or "")
        code = USAGE if status == 400 else EXIT_CODES.get(status, ERROR)
        return Failure(str(says), code=code, then=then, request_id=request)


def _tried(path: str) -> str:
    """The same path for a dry run."""
    return f"{path}{'&' if '?' in path else '?'}dryRun=true"


def _is_of_account(answer: Mapping[str, Any]) -> bool:
    """Whether what was not found is the account itself."""
    errors = answer.get("errors")
    return isinstance(errors, list) and any(
        isinstance(error, dict) and error.get("field") == "account" for error in errors
    )
