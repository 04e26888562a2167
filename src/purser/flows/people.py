"""People: the links that they sign in and sign up with, sent by mail, each good once and for a short while (X1)."""

from __future__ import annotations

from dataclasses import dataclass

from purser.core import letters
from purser.core.client import network_of
from purser.core.errors import Forbidden, TooMany
from purser.core.ids import digest_key, make_secret
from purser.core.message import PERSON_LINK
from purser.core.people import lower, mailbox, read_address
from purser.core.period import DAY, HOUR, MINUTE, SECOND
from purser.flows import abuse, access, accounts, outbox
from purser.flows.accounts import Opened
from purser.store import people
from purser.store.db import Connection, Row
from purser.store.writers import Tx

SIGN_IN, SIGN_UP = "sign-in", "sign-up"
PROVED = "sign-up, proved"  # by a provider: on the page that it leads to, and in no mail
LINK_MINUTES = 15
LINK_BITS = 200
SPAN = HOUR
PER_ADDRESS, PER_CLIENT = 5, 30  # in it: unused links sent to one address, and links asked for by one client's
SIGN_UPS_PER_CLIENT = 5  # accounts a day that were asked for from one client's address


class TooOften(TooMany):
    """Asked for too often; `retry_after` are the seconds to wait."""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class SignedUp:
    """What following a sign-up link came to: an account just opened with so much credit, or None: there was one.

    Whether that credit was given, or waits for something, is in `opened.credit`.
    """

    email: str
    opened: Opened | None
    credit_nanos: int = 0


def ask_to_sign_in(tx: Tx, address: object, client: str, base_url: str) -> None:
    """Send a link to an address that is a user's; whoever asks cannot tell whether it is.

    `client` is the network address of whoever asks. Where enough were sent that nobody has used, the last of these is
    good again instead. Raises Invalid, TooOften, and Forbidden by an abuse rule.
    """
    abuse.check_network(tx.conn, client)
    email = read_address(address)
    _ask(tx, email, client, base_url, SIGN_IN if people.list_memberships(tx.conn, email) else "")


def ask_to_sign_up(tx: Tx, address: object, client: str, base_url: str) -> None:
    """Send a link that opens an account, or signs in where the address has opened one before.

    That others have written the address among their account's users keeps nobody from an account of their own.
    Raises Invalid, TooOften, and Forbidden where accounts are the operator's to open, or by an abuse rule.
    """
    _check_open(tx)
    email = read_address(address)
    abuse.check_sign_up(tx, email, client)
    _ask(tx, email, client, base_url, SIGN_UP if people.find_signed_up(tx.conn, email) is None else SIGN_IN)


def _check_open(tx: Tx) -> None:
    if not tx.policy.sign_up:
        raise Forbidden("sign-up is off here: the operator of this gateway opens accounts; ask them for one")


def _ask(tx: Tx, address: str, client: str, base_url: str, purpose: str) -> None:
    """Every request makes a row, also where no mail is sent: so all take as long, and all count.

    Strangers may ask for links to an address, so that they must not be able to use its links up: beyond the most that
    it is sent, whoever reads its mail comes in by the last one there. Using one makes room for others.
    """
    wall, client = tx.world.wall(), network_of(client)
    _count(people.list_asked(tx.conn, wall - SPAN, client), wall)
    unused = people.list_unused(tx.conn, wall - SPAN, address, purpose)
    again = unused[-1] if len(unused) >= PER_ADDRESS else None
    if again is not None:
        people.renew_link(tx.conn, again, client, wall + LINK_MINUTES * MINUTE)
        purpose = ""
    secret, link = _make(tx, address, client, purpose)
    if purpose:
        url = f"{base_url}/dashboard/link?token={secret}"
        letter = letters.link(url, LINK_MINUTES, opens_account=purpose == SIGN_UP)
        outbox.write_mail(tx, "", PERSON_LINK, link, address, letter, private=True)


def offer_sign_up(tx: Tx, email: str, client: str) -> str:
    """What opens an account for an address that a provider has just proved, used as a link's secret is, and not mailed.

    Raises TooOften, and Forbidden where accounts are the operator's to open, or by an abuse rule.
    """
    _check_open(tx)
    abuse.check_sign_up(tx, email, client)
    client = network_of(client)
    _count(people.list_asked(tx.conn, tx.world.wall() - SPAN, client), tx.world.wall())
    return _make(tx, email, client, PROVED)[0]


def _make(tx: Tx, address: str, client: str, purpose: str) -> tuple[str, str]:
    """Write a link down; answers its secret and its id."""
    secret, link, wall = make_secret("link", tx.world.entropy(LINK_BITS)), tx.new_id("link"), tx.world.wall()
    people.insert_link(
        tx.conn,
        id=link,
        purpose=purpose,
        email=address,
        client=client,
        digest=digest_key(secret, access.pepper(tx.conn)),
        created_at=wall,
        expires_at=wall + LINK_MINUTES * MINUTE,
    )
    return secret, link


def _count(asked: list[int], wall: int) -> None:
    if len(asked) >= PER_CLIENT:
        wait = max(1, -(-(asked[-PER_CLIENT] + SPAN - wall) // SECOND))
        text = f"{PER_CLIENT} links were asked for from here within an hour; try again in {-(-wait // 60)} min"
        raise TooOften(text, wait)


def find_link(conn: Connection, secret: str | None, wall: int) -> Row | None:
    """A link that is good still, with its `purpose` and `email`; None where it is unknown, used or expired."""
    return people.find_link(conn, digest_key(secret or "", access.pepper(conn)), wall)


def _use(tx: Tx, secret: str, *purposes: str) -> Row | None:
    wall = tx.world.wall()
    row = find_link(tx.conn, secret, wall)
    if row is None or row.purpose not in purposes or not people.use_link(tx.conn, row.id, wall):
        return None
    people.end_links(tx.conn, row.email, wall)
    return row


def sign_in(tx: Tx, secret: str) -> str | None:
    """Use up a link to sign in with; answers the address that is proved by it, None where it is good no more."""
    row = _use(tx, secret, SIGN_IN)
    return None if row is None else str(row.email)


def sign_up(tx: Tx, secret: str, account: str, client: str = "") -> SignedUp | None:
    """Use up a link to sign up with, and open an account of that id; None where it is good no more (A1).

    However many links an address follows it opens one account, as long as it is a user of that; and however many
    addresses one mailbox has ("+"), it gets the sign-up credit once, and only after a review where an abuse rule finds
    the sign-up suspicious. Raises TooOften, and Forbidden where sign-up is off by now, or by an abuse rule.
    """
    _check_open(tx)
    row = _use(tx, secret, SIGN_UP, PROVED)
    if row is None:
        return None
    email, wall = str(row.email), tx.world.wall()
    suspicious = abuse.check_sign_up(tx, email, str(row.client).partition("/")[0], client)
    if people.count_used(tx.conn, wall - DAY, row.client, (SIGN_UP, PROVED)) > SIGN_UPS_PER_CLIENT:
        many = f"{SIGN_UPS_PER_CLIENT} accounts a day can be opened from one network address; try again tomorrow"
        raise TooOften(many, DAY // SECOND)
    if not people.claim_signup(tx.conn, email, account, tx.now):
        return SignedUp(email, None)
    had = people.had_credit(tx.conn, email)
    first = people.insert_signup(tx.conn, people.MAILBOX, mailbox(email), account, tx.now)
    gift = None if first and not had else 0
    opened = accounts.open_account(tx, account, email, signup_credit_nanos=gift, review=suspicious is not None)
    if suspicious is not None:
        abuse.flag_sign_up(tx, account, suspicious)
    return SignedUp(email, opened, tx.policy.signup_credit_nanos if opened.credit else 0)


def is_persons(row: Row, email: str) -> bool:
    """Whether a user's row is the person of this address."""
    return not row.service_account and lower(row.email) == email
