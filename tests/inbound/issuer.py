"""A real OpenID Connect provider for tests: HTTP, PKCE and signed tokens; it can be told to misbehave."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

CLIENT, SECRET = "purser", "the secret: of % purser"
_LISTED = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
_OTHER = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
_CURVE = ec.generate_private_key(ec.SECP256R1())


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class Issuer:
    """Who signs in there, what its tokens say beside (`claims`), and how they are signed (`sign`)."""

    def __init__(self) -> None:
        self.url = ""
        self.claims: dict[str, Any] = {"sub": "u1", "email": "ada@example.com", "email_verified": True}
        self.sign = "listed"
        self.named: str | None = None  # in its document
        self.codes: dict[str, dict[str, str]] = {}
        self.asked: list[str] = []

    def document(self) -> dict[str, Any]:
        places = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
        return {"issuer": self.named or self.url, **{name: f"{self.url}/{path}" for name, path in places.items()}}

    def keys(self) -> dict[str, Any]:
        listed = jwt.algorithms.RSAAlgorithm.to_jwk(_LISTED.public_key(), as_dict=True)
        curve = jwt.algorithms.ECAlgorithm.to_jwk(_CURVE.public_key(), as_dict=True)
        found = [{**listed, "kid": "one", "use": "sig"}]
        return {"keys": [*found, {**curve, "kid": "two"}] if self.sign == "curve" else found}

    def authorize(self, query: dict[str, str]) -> str:
        """Somebody signs in: where their browser is sent back to."""
        assert (query["response_type"], query["client_id"]) == ("code", CLIENT)
        assert query["code_challenge_method"] == "S256"
        assert set(query["scope"].split()) == {"openid", "email"}
        code = f"code-{len(self.codes)}"
        self.codes[code] = query
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"

    def token(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        """A code for a token, once, and only for who has begun it."""
        user, _, password = base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
        pair = parse_qs(f"user={user}&password={password}")
        asked = self.codes.pop(form["code"], None)
        if (pair["user"], pair["password"]) != ([CLIENT], [SECRET]) or asked is None:
            return 400, {"error": "invalid_grant"}
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        if _encode(digest) != asked["code_challenge"] or form["redirect_uri"] != asked["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        claims = {"iss": self.url, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": asked["nonce"]}
        said = {name: value for name, value in {**claims, **self.claims}.items() if value is not None}
        return 200, {"access_token": "a", "token_type": "Bearer", "id_token": self.signed(said)}

    def signed(self, claims: dict[str, Any]) -> str:
        match self.sign:
            case "none":
                return jwt.encode(claims, "", algorithm="none", headers={"kid": "one"})
            case "symmetric":  # with the public key as if it were a secret
                public = _LISTED.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
                head = {"alg": "HS256", "typ": "JWT", "kid": "one"}
                told = ".".join(_encode(json.dumps(part).encode()) for part in (head, claims))
                return f"{told}.{_encode(hmac.digest(public, told.encode(), 'sha256'))}"
            case "other":
                return jwt.encode(claims, _OTHER, algorithm="RS256", headers={"kid": "one"})
            case "unlisted":
                return jwt.encode(claims, _OTHER, algorithm="RS256", headers={"kid": "nine"})
            case "curve":
                return jwt.encode(claims, _CURVE, algorithm="ES256", headers={"kid": "two"})
        return jwt.encode(claims, _LISTED, algorithm="RS256", headers={"kid": "one"})


@contextmanager
def issuer() -> Iterator[Issuer]:
    """A provider on a free port, until the end."""
    found = Issuer()

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            found.asked.append(parts.path)
            if parts.path == "/authorize":
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                self.send_response(302)
                self.send_header("location", found.authorize(query))
                self.send_header("content-length", "0")
                self.end_headers()
            elif parts.path == "/.well-known/openid-configuration":
                self.answer(200, found.document())
            else:
                self.answer(200, found.keys())

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["content-length"])).decode()
            form = {name: values[0] for name, values in parse_qs(raw).items()}
            self.answer(*found.token(form, self.headers["authorization"] or ""))

        def answer(self, status: int, body: dict[str, Any]) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    found.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join(30)
