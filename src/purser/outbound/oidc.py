"""OpenID Connect: where people sign in at the operator's provider, and the address that its signed answer proves."""

from __future__ import annotations

import base64
import hashlib
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode, urlsplit

import jwt
import msgspec

from purser.core.errors import Forbidden, Unavailable
from purser.core.people import read_address
from purser.core.period import HOUR, MINUTE, SECOND

_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_TIMEOUT_SECONDS = 10
_AT_ONCE = 4  # calls of the provider: one that hangs must not keep every thread of the control plane
_MOST_BYTES = 1 << 20
_LEEWAY = MINUTE
_CLAIMS = ("iss", "sub", "aud", "exp", "iat")


class _Straight(urllib.request.HTTPRedirectHandler):
    """Follows nothing: a provider's answers come from where its document says."""

    def redirect_request(self, *_args: Any, **_options: Any) -> None:
        return None


class OidcProvider:
    """One provider, by its issuer's URL; its document and keys are fetched when needed and kept for an hour."""

    def __init__(self, issuer: str, client_id: str, client_secret: str | None) -> None:
        self._issuer, self._client_id, self._secret = issuer, client_id, client_secret
        self._lock, self._room = threading.Lock(), threading.BoundedSemaphore(_AT_ONCE)
        self._known: tuple[int, dict[str, Any], jwt.PyJWKSet] | None = None
        self._opener = urllib.request.build_opener(_Straight())

    def begin(self, redirect_uri: str, state: str, nonce: str, verifier: str, wall: int) -> str:
        """Where to send a browser that is to sign in; raises Unavailable."""
        document, _ = self._learn(wall)
        query = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": redirect_uri,
            "scope": "openid email",
            "state": state,
            "nonce": nonce,
            "code_challenge": _encode(hashlib.sha256(verifier.encode()).digest()),
            "code_challenge_method": "S256",
        }
        endpoint = str(document["authorization_endpoint"])
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"

    def finish(self, code: str, redirect_uri: str, nonce: str, verifier: str, wall: int) -> str:
        """The verified address of whoever signed in there; raises Forbidden, Unavailable."""
        document, _ = self._learn(wall)
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "client_id": self._client_id,
            "code_verifier": verifier,
        }
        with self._within_room():
            answer = self._fetch(str(document["token_endpoint"]), urlencode(fields).encode())
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise Forbidden("the provider has not said who signed in")
        return self._address(self._verify(token, nonce, wall))

    def _verify(self, token: str, nonce: str, wall: int) -> dict[str, Any]:
        try:
            header = jwt.get_unverified_header(token)
            key = self._key(header.get("kid"), wall)
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=list(_ALGORITHMS),
                audience=self._client_id,
                issuer=self._issuer,
                # Times are looked at below, by our own clock.
                options={"require": list(_CLAIMS), "verify_exp": False, "verify_iat": False, "verify_nbf": False},
            )
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise Forbidden(f"the provider's answer is not to be believed: {error}") from None
        now = wall // SECOND
        leeway = _LEEWAY // SECOND
        sound = all(isinstance(claims[name], int | float) for name in ("exp", "iat"))
        if not sound or claims["exp"] + leeway <= now or claims["iat"] - leeway > now:
            raise Forbidden("the provider's answer is not of this time")
        if claims.get("nonce") != nonce:
            raise Forbidden("the provider's answer is to another question than this browser's")
        if claims.get("azp", self._client_id) != self._client_id:
            raise Forbidden("the provider's answer is for another program")
        return claims

    def _key(self, kid: str | None, wall: int) -> Any:
        """The key of an id; the keys are fetched anew where it is unknown, since providers change them."""
        for fresh in (False, True):
            _, keys = self._learn(wall, fresh=fresh)
            for each in keys.keys:
                if (each.key_id == kid or (kid is None and len(keys.keys) == 1)) and each.public_key_use in (
                    None,
                    "sig",
                ):
                    return each
        raise jwt.InvalidKeyError("it is signed with a key that the provider does not list")

    def _address(self, claims: dict[str, Any]) -> str:
        if claims.get("email_verified") is not True:
            raise Forbidden("the provider has not verified your e-mail address; have it do so, then sign in again")
        return read_address(claims.get("email"))

    def _learn(self, wall: int, *, fresh: bool = False) -> tuple[dict[str, Any], jwt.PyJWKSet]:
        known = self._known
        if known is not None and not fresh and known[0] > wall:
            return known[1], known[2]
        with self._within_room(), self._lock:
            if self._known is None or fresh or self._known[0] <= wall:
                document = self._fetch(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
                if document.get("issuer") != self._issuer:
                    raise Unavailable("the sign-in provider calls itself by another name than oidc_issuer")
                for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
                    self._check_url(document.get(name))
                try:
                    keys = jwt.PyJWKSet.from_dict(self._fetch(str(document["jwks_uri"])))
                except jwt.PyJWTError as error:
                    raise Unavailable(f"the sign-in provider's keys cannot be used: {error}") from None
                self._known = (wall + HOUR, document, keys)
            return self._known[1], self._known[2]

    @contextmanager
    def _within_room(self) -> Iterator[None]:
        if not self._room.acquire(blocking=False):
            raise Unavailable("many sign-ins are under way at the sign-in provider; try again in a moment")
        try:
            yield
        finally:
            self._room.release()

    def _check_url(self, url: object) -> None:
        own = urlsplit(self._issuer).scheme
        if not isinstance(url, str) or urlsplit(url).scheme not in ("https", own):
            raise Unavailable("the sign-in provider's document does not say where to go")

    def _fetch(self, url: str, form: bytes | None = None) -> dict[str, Any]:
        request = urllib.request.Request(url, form, {"accept": "application/json"})
        if form is not None and self._secret is not None:
            pair = f"{urlencode({'': self._client_id})[1:]}:{urlencode({'': self._secret})[1:]}"
            request.add_header("authorization", "Basic " + base64.b64encode(pair.encode()).decode())
        try:
            with self._opener.open(request, timeout=_TIMEOUT_SECONDS) as answer:
                found = msgspec.json.decode(answer.read(_MOST_BYTES))
        except urllib.error.HTTPError as error:
            error.close()
            if form is not None and error.code in (400, 401):
                raise Forbidden("the provider does not know this sign-in; begin again") from None
            raise Unavailable(f"the sign-in provider answered {error.code}; try again") from None
        except (OSError, ValueError, msgspec.DecodeError):
            raise Unavailable("the sign-in provider cannot be reached just now; try again") from None
        if not isinstance(found, dict):
            raise Unavailable("the sign-in provider answered nothing that makes sense")
        return found


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
