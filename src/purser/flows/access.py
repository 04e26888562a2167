"""Access: users, API keys shown once and stored hashed, operators, and who a key belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from purser.core.address import check_email
from purser.core.budget import Bound
from purser.core.errors import Conflict, Invalid, NotFound, Unauthenticated
from purser.core.ids import check_name, digest_key, make_secret
from purser.core.lease import KEY
from purser.core.leaving import reopenable_until
from purser.core.people import lower
from purser.core.period import format_instant
from purser.flows import budgets, caps, standing
from purser.store import accounts, operators
from purser.store.db import Connection, Row
from purser.store.headroom import RowKey
from purser.store.presence import SHARED, lock_one
from purser.store.writers import Tx

ADMIN = "admin"
ROLES = (ADMIN, "user", "contributor", "inference-user")
OWNER = "owner"
OPERATOR_ROLES = (OWNER, "finance", "support", "read-only")
METERING = "metering"  # reports usage of its own account (interface §5)
SCOPES = (METERING,)
ACCOUNT_CLOSED = "ACCOUNT_CLOSED"
KEY_BITS = 200
PREFIX_CHARACTERS = 11
_PEPPER = "key_pepper"


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made; `secret` is never shown again."""

    id: str
    secret: str
    prefix: str


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling: an account's user by key, with the scopes beyond its role, or the operator."""

    account: str
    user: str
    key: str
    role: str
    expires_at: int | None = None
    operator: bool = False
    operator_role: str = ""
    scopes: tuple[str, ...] = ()
    bounds: tuple[Bound, ...] = ()  # the budget of the key, the cap of the user

    def budget_rows(self, now: int) -> tuple[RowKey, ...]:
        """The headroom rows of the budgets under which a request begun at this instant stands."""
        if not self.bounds:
            return ()
        return tuple([RowKey(self.account, bound.kind, bound.window(now)) for bound in self.bounds])


def pepper(conn: Connection) -> bytes:
    """The secret under which this database's keys are hashed."""
    return bytes.fromhex(accounts.get_meta(conn, _PEPPER) or "")


def set_up_pepper(tx: Tx) -> None:
    """Choose the secret once."""
    if accounts.get_meta(tx.conn, _PEPPER) is None:
        accounts.set_meta(tx.conn, _PEPPER, f"{tx.world.entropy(256):064x}")


def create_user(
    tx: Tx,
    account: str,
    user: str,
    *,
    role: str = "user",
    email: str = "",
    display_name: str = "",
    service_account: bool = False,
    scopes: Sequence[str] = (),
) -> None:
    """Add a user to an account; raises Invalid, NotFound, Conflict."""
    standing.lock_open(tx, account)
    check_name(user, "userId")
    check_role(role)
    _check_scopes(scopes, service_account)
    if email:
        check_email(email)
    if accounts.get_user(tx.conn, account, user) is not None:
        raise Conflict(f"account {account} has a user {user} already", field="userId")
    accounts.insert_user(
        tx.conn,
        account=account,
        id=user,
        email=lower(email),
        display_name=display_name,
        role=role,
        service_account=int(service_account),
        scopes=" ".join(scopes),
        created_at=tx.now,
        updated_at=tx.now,
        made=tx.new_id("user"),
    )


def update_user(
    tx: Tx,
    account: str,
    user: str,
    *,
    role: str | None = None,
    display_name: str | None = None,
    email: str | None = None,
    scopes: Sequence[str] | None = None,
) -> None:
    """Change a user; raises Invalid, NotFound, and Conflict where the account would be left without an admin."""
    standing.lock(tx, account)
    row = accounts.get_user(tx.conn, account, user)
    if row is None:
        raise NotFound(f"account {account} has no user {user!r:.70}", field="user")
    values: dict[str, object] = {"display_name": display_name, "role": role}
    values["email"] = None if email is None else lower(email)
    if email:
        check_email(email)
    if role is not None:
        check_role(role)
        if row.role == ADMIN and role != ADMIN and accounts.count_admins(tx.conn, account) == 1:
            raise Conflict(
                f"{user} is the only admin of account {account}; make another user an admin first",
                field="role",
                code="FAILED_PRECONDITION",
            )
    if scopes is not None:
        _check_scopes(scopes, bool(row.service_account))
        values["scopes"] = " ".join(scopes)
    changed = {name: value for name, value in values.items() if value is not None}
    accounts.update_user(tx.conn, account, user, updated_at=tx.now, **changed)
    tx.touch(account)


def check_role(role: object) -> None:
    """Raises Invalid for what is no role of an account."""
    if role not in ROLES:
        raise Invalid(f"role must be one of {', '.join(ROLES)}, not {role!r:.40}", field="role")


def name_principal(row: Row) -> str:
    """Who a user's row is, as the audit log tells it: a person's address, a service account's name in its account."""
    if row.service_account:
        return f"{row.id}@{row.account}.sa.purser"
    return str(row.email or row.id)


def scopes_of(row: Row) -> tuple[str, ...]:
    """The scopes of a user's row."""
    return tuple(row.scopes.split())


def _check_scopes(scopes: Sequence[str], service_account: bool) -> None:
    unknown = next((scope for scope in scopes if scope not in SCOPES), None)
    if unknown is not None or len(set(scopes)) < len(scopes):
        raise Invalid(f'scopes must be a list such as ["metering"]; known: {", ".join(SCOPES)}', field="scopes")
    if scopes and not service_account:
        raise Invalid("scopes are for service accounts only", field="scopes")


def create_key(
    tx: Tx, account: str, user: str, *, display_name: str = "default", expires_at: int | None = None
) -> NewKey:
    """Make an API key for a user; its secret is in the answer and nowhere else (X2). Raises Invalid, NotFound."""
    standing.lock_open(tx, account)
    if accounts.get_user(tx.conn, account, user) is None:
        raise NotFound(f"account {account} has no user {user!r:.70}", field="user")
    if expires_at is not None and expires_at <= tx.now:
        raise Invalid("expireTime must lie in the future", field="expireTime")
    if len(display_name) > 100:
        raise Invalid("displayName must be at most 100 characters", field="displayName")
    secret = make_secret("pk", tx.world.entropy(KEY_BITS))
    key = tx.new_id("key")
    accounts.insert_key(
        tx.conn,
        account=account,
        id=key,
        user=user,
        display_name=display_name,
        prefix=secret[:PREFIX_CHARACTERS],
        digest=digest_key(secret, pepper(tx.conn)),
        created_at=tx.now,
        expires_at=expires_at,
    )
    return NewKey(key, secret, secret[:PREFIX_CHARACTERS])


def revoke_key(tx: Tx, account: str, user: str | None, key: str) -> None:
    """End a key at once; raises NotFound unless it is a live key of that user (any user where None)."""
    standing.lock(tx, account)
    row = accounts.get_key(tx.conn, account, key)
    if row is None or (user is not None and row.user != user) or not accounts.revoke_key(tx.conn, account, key, tx.now):
        raise NotFound(f"there is no live key {key!r:.60}", field="keyId")
    tx.touch(account)


def add_operator(tx: Tx, name: str, secret: str) -> None:
    """Let a secret of 32 or more characters act as the operator; a known one is an owner's again. Raises Invalid."""
    if len(secret) < 32:
        raise Invalid(
            f"PURSER_OPERATOR_KEY must have 32 or more characters, not {len(secret)}",
            field="PURSER_OPERATOR_KEY",
        )
    digest = digest_key(secret, pepper(tx.conn))
    known = operators.find_operator(tx.conn, digest, live=False)
    if known is not None:
        if known.revoked_at is not None or known.role != OWNER:
            operators.update_operator(tx.conn, known.id, role=OWNER, revoked_at=None)
    else:
        row = {"id": tx.new_id("op"), "name": name, "role": OWNER, "prefix": secret[:4], "digest": digest}
        operators.insert_operator(tx.conn, **row, created_at=tx.now)


def create_operator(tx: Tx, name: str, role: str) -> NewKey:
    """A person of the operator's, with a key that is in the answer and nowhere else. Raises Invalid, Conflict."""
    lock_one(tx.conn, SHARED)
    check_name(name, "name")
    _check_operator_role(role)
    if any(row.name == name for row in operators.list_operators(tx.conn)):
        raise Conflict(f"there is an operator {name} already", field="name")
    secret, id_ = make_secret("op", tx.world.entropy(KEY_BITS)), tx.new_id("op")
    prefix, digest = secret[:PREFIX_CHARACTERS], digest_key(secret, pepper(tx.conn))
    row = {"id": id_, "name": name, "role": role, "prefix": prefix, "digest": digest}
    operators.insert_operator(tx.conn, **row, created_at=tx.now)
    return NewKey(id_, secret, prefix)


def update_operator(tx: Tx, operator: str, role: str) -> None:
    """Another role for one of the operator's people; an owner stays. Raises Invalid, NotFound, Conflict."""
    _check_operator_role(role)
    row = _lock_operator(tx, operator)
    if row.role == OWNER and role != OWNER:
        _keep_an_owner(tx)
    operators.update_operator(tx.conn, operator, role=role)
    tx.touch("")


def remove_operator(tx: Tx, operator: str) -> None:
    """End an operator's key at once; an owner stays. Raises NotFound, Conflict."""
    row = _lock_operator(tx, operator)
    if row.role == OWNER:
        _keep_an_owner(tx)
    operators.update_operator(tx.conn, operator, revoked_at=tx.now)
    tx.touch("")


def _lock_operator(tx: Tx, operator: str) -> Row:
    lock_one(tx.conn, SHARED)  # so that two owners cannot remove each other at once
    row = operators.get_operator(tx.conn, operator)
    if row is None or row.revoked_at is not None:
        raise NotFound(f"there is no operator {operator!r:.60}", field="operator")
    return row


def _keep_an_owner(tx: Tx) -> None:
    if sum(row.role == OWNER for row in operators.list_operators(tx.conn)) == 1:
        raise Conflict("this is the only owner; make another operator an owner first", code="FAILED_PRECONDITION")


def _check_operator_role(role: object) -> None:
    if role not in OPERATOR_ROLES:
        raise Invalid(f"role must be one of {', '.join(OPERATOR_ROLES)}, not {role!r:.40}", field="role")


def authenticate(conn: Connection, secret: str, now: int, salt: bytes) -> Principal:
    """Who holds this secret; raises Unauthenticated where it is unknown, revoked or expired."""
    digest = digest_key(secret, salt)
    row = accounts.find_key(conn, digest)
    if row is not None and row.revoked_at is None and (row.expires_at is None or row.expires_at > now):
        scopes, bounds = scopes_of(row), _bounds(conn, row)
        return Principal(row.account, row.user, row.id, row.role, row.expires_at, scopes=scopes, bounds=bounds)
    if row is None:
        operator = operators.find_operator(conn, digest)
        if operator is not None:
            return Principal("", operator.id, operator.id, "operator", operator=True, operator_role=operator.role)
    if row is not None and row.closing_at is not None:
        raise Unauthenticated(
            f"the account {row.account} of this API key was closed at {format_instant(row.closing_at)}; the operator "
            f"can open it again until {format_instant(reopenable_until(row.closing_at))}",
            code=ACCOUNT_CLOSED,
        )
    raise Unauthenticated("the API key is unknown, revoked or expired; send Authorization: Bearer YOUR_KEY")


def _bounds(conn: Connection, row: Row) -> tuple[Bound, ...]:
    """What limits the requests of a key's row as `find_key` answers it, beside what limits its account."""
    budget = budgets.budget_of(row)
    cap = caps.find(conn, row.account, row.limit_override, row.member_of, row.default_user_limit)
    own = () if budget is None else (Bound(KEY, row.id, budget),)
    return own if cap is None else (*own, cap.bound(row.user))
