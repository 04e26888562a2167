"""Invitations: an admin invites an address to an account, and whoever reads its mail takes the invitation up (X1)."""

from __future__ import annotations

from dataclasses import dataclass

from purser.core import letters
from purser.core.errors import Conflict, NotFound
from purser.core.ids import digest_key, make_secret
from purser.core.message import INVITED
from purser.core.people import read_address, short_name
from purser.core.period import DAY, SECOND
from purser.flows import access, outbox, standing
from purser.flows.people import LINK_BITS, TooOften
from purser.store import accounts, invitations, people
from purser.store.db import Connection, Row
from purser.store.invitations import ACCEPTED, PENDING, REVOKED
from purser.store.writers import Tx

EXPIRED = "expired"
GOOD_FOR = 7 * DAY
A_DAY = 50  # invitations of one account in 24 hours
_NAMES = 50


@dataclass(frozen=True, slots=True)
class TakenUp:
    """Who an invitation made whoever took it up."""

    account: str
    user: str
    email: str


def invite(tx: Tx, account: str, address: object, role: str, by: str, base_url: str) -> str:
    """Invite an address to an account with a role, by mail; one sent to it before ends. Answers its id.

    `by` is the user who invites, "" for the operator. Raises Invalid, NotFound, Conflict where the address is a user
    of the account or that is closed, TooOften.
    """
    standing.lock_open(tx, account)
    email, wall = read_address(address), tx.world.wall()
    access.check_role(role)
    if _find_member(tx.conn, account, email) is not None:
        raise Conflict(f"{email} is a user of account {account} already", field="email")
    if invitations.count_since(tx.conn, account, wall - DAY) >= A_DAY:
        raise TooOften(f"an account can send {A_DAY} invitations a day; try again tomorrow", DAY // SECOND)
    for row in invitations.list_pending(tx.conn, account, email):
        invitations.end(tx.conn, account, row.id, wall, state=REVOKED)
    secret, id_ = make_secret("invite", tx.world.entropy(LINK_BITS)), tx.new_id("invt")
    invitations.insert(
        tx.conn,
        account=account,
        id=id_,
        email=email,
        role=role,
        invited_by=by,
        digest=digest_key(secret, access.pepper(tx.conn)),
        created_at=wall,
        expires_at=wall + GOOD_FOR,
    )
    inviter = accounts.get_user(tx.conn, account, by) if by else None
    name = "The operator" if inviter is None else access.name_principal(inviter)
    letter = letters.invited(account, role, name, f"{base_url}/dashboard/invitation?token={secret}", wall + GOOD_FOR)
    outbox.write_mail(tx, account, INVITED, id_, email, letter, private=True)
    return id_


def revoke(tx: Tx, account: str, invitation: str) -> None:
    """End an invitation that nobody has taken up: its link opens nothing any more. Raises NotFound."""
    standing.lock(tx, account)
    if not invitations.end(tx.conn, account, invitation, tx.world.wall(), state=REVOKED):
        raise NotFound(f"account {account} has no pending invitation {invitation!r:.60}", field="invitation")


def find(conn: Connection, secret: str | None, wall: int) -> Row | None:
    """An invitation that can be taken up still; None where it is unknown, taken up, revoked or expired."""
    return invitations.find(conn, digest_key(secret or "", access.pepper(conn)), wall)


def name_user(conn: Connection, row: Row) -> str:
    """The id of the user that an invitation makes: after the address, and one that is free."""
    member = _find_member(conn, row.account, row.email)
    if member is not None:
        return str(member.id)
    name = short_name(row.email)
    names = [name, *(f"{name}-{n}" for n in range(2, _NAMES))]
    return next((each for each in names if accounts.get_user(conn, row.account, each) is None), name)


def take_up(tx: Tx, secret: str, user: str) -> TakenUp | None:
    """Make whoever has an invitation's link a user of its account; None where it is good no more.

    One who is a user of the account by now stays what they are. Raises Conflict where the name is taken meanwhile.
    """
    row = find(tx.conn, secret, tx.world.wall())
    if row is None:
        return None
    standing.lock(tx, row.account)
    member = _find_member(tx.conn, row.account, row.email)
    if member is None:
        access.create_user(tx, row.account, user, role=row.role, email=row.email)
    name = user if member is None else str(member.id)
    if not invitations.end(tx.conn, row.account, row.id, tx.world.wall(), state=ACCEPTED, user=name):
        raise Conflict("this invitation has just been taken up or revoked")
    return TakenUp(row.account, name, row.email)


def state_of(row: Row, wall: int) -> str:
    """What has become of an invitation by an instant of wall-clock time."""
    return EXPIRED if row.state == PENDING and row.expires_at <= wall else str(row.state)


def _find_member(conn: Connection, account: str, email: str) -> Row | None:
    rows = people.list_memberships(conn, email)
    return next((row for row in rows if row.account == account), None)
