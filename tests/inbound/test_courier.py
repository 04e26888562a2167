"""The outbox and its courier: each message goes out, once where nothing dies, and under one id where something does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from purser.core.alerts import FORECAST, Alert
from purser.core.letters import Letter
from purser.core.message import ALERT, CLAIM, GIVEN_UP, KEPT, LATE, MAIL, PENDING, SENT, WAITS, WEBHOOK
from purser.core.period import DAY, MINUTE, SECOND
from purser.core.policy import Policy
from purser.flows import accounts, audit, outbox, setup
from purser.inbound.courier import Courier
from purser.outbound.mail import FolderMail, SmtpMail, mail_by
from purser.outbound.messages import Message, Undelivered
from purser.store import alerts as alert_rows
from purser.store import outbox as rows
from purser.store import schema as t
from purser.store.db import Connection, Database, Row
from purser.store.writers import Tx, Writer
from tests import databases
from tests.flows.books import World
from tests.mailserver import MailServer, mail_server
from tests.store.small_books import change

ADA = "ada@example.com"


class Post:
    """Books with an account, any number of processes on them, and a mail server; audited at the end."""

    def __init__(self, path: Path, server: MailServer) -> None:
        self.server, self.world = server, World()
        self.db = Database(databases.at(path))
        self.writers = [self._writer(1)]
        self.run(lambda tx: setup.prepare(tx, {"tiny": {"input": "1.00", "output": "1.00"}}, None))
        self.run(lambda tx: accounts.open_account(tx, "ada", ADA))

    def _writer(self, pid: int) -> Writer:
        return Writer(self.db, self.world, Policy(), host="here", pid=pid)

    def run(self, work: Any) -> Any:
        return self.writers[0].run(work)

    def courier(self, sender: Any = None) -> Courier:
        """A courier of a process of its own."""
        self.writers.append(self._writer(len(self.writers) + 1))
        sender = sender or SmtpMail(f"smtp://127.0.0.1:{self.server.port}", "Purser <billing@example.com>")
        return Courier(self.db, self.writers[-1].run, self.world, sender)

    def write(self, fact: str, to: str = ADA, *, private: bool = False) -> bool:
        letter = Letter(f"About {fact}", f"This is about {fact}.\n")
        done: bool = self.run(lambda tx: outbox.write_mail(tx, "ada", "test", fact, to, letter, private=private))
        return done

    def row(self, fact: str) -> Row:
        with self.db.read() as conn:
            (found,) = [row for row in rows.list_for(conn, "ada", ADA, 1_000) if row.fact == f"{fact}@mail"]
        return found

    def later(self, span: int) -> None:
        self.world.at += span


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Post]:
    with mail_server() as server:
        made = Post(tmp_path / "purser.db", server)
        yield made
        with made.db.read() as conn:
            assert not audit.audit(conn).violations
        for writer in made.writers:
            writer.close()
        made.db.dispose()


def test_a_message_goes_out_once_with_what_it_says(post: Post) -> None:
    assert post.write("one")
    courier = post.courier()
    assert [courier.deliver(), courier.deliver(), post.courier().deliver()] == [1, 0, 0]
    (mail,) = post.server.mails
    row = post.row("one")
    assert (mail["From"], mail["To"], mail["Subject"]) == ("Purser <billing@example.com>", ADA, "About one")
    assert mail["Message-ID"] == f"<{row.id}@example.com>"
    assert mail.get_content().strip() == "This is about one."
    assert (row.state, row.attempts, row.sent_at, row.due_at, row.status) == (SENT, 1, post.world.at, None, 250)


def test_a_fact_is_told_once_and_only_if_it_is_one(post: Post) -> None:
    assert post.write("one")
    post.later(MINUTE)
    assert not post.write("one"), "the same fact"

    def undone(tx: Tx) -> None:
        outbox.write_mail(tx, "ada", "test", "two", ADA, Letter("Two", "two\n"))
        raise RuntimeError("and the rest of it fails")

    with pytest.raises(RuntimeError):
        post.run(undone)
    post.courier().deliver()
    assert [mail["Subject"] for mail in post.server.mails] == ["About one"]


def test_what_the_server_cannot_take_now_is_sent_later_under_the_same_id(post: Post) -> None:
    post.write("one")
    courier = post.courier()
    post.server.says_to_mail = "451 try again later"
    assert courier.deliver() == 1
    row = post.row("one")
    assert (row.state, row.attempts, row.due_at) == (PENDING, 1, post.world.at + WAITS[0])
    assert "451 try again later" in row.failure
    assert courier.deliver() == 0
    post.server.says_to_mail = "250 OK"
    post.later(WAITS[0])
    assert courier.deliver() == 1
    assert post.row("one").state == SENT
    assert len(post.server.ids) == 2
    assert len(set(post.server.ids)) == 1


def test_an_address_that_does_not_exist_is_given_up_at_once_and_one_that_is_full_is_not(post: Post) -> None:
    post.write("gone", "gone@example.com")
    post.write("full", "full@example.com")
    post.server.says_to_address = {"gone@example.com": "550 no such user", "full@example.com": "452 mailbox full"}
    post.courier().deliver()
    with post.db.read() as conn:
        states = {
            row.target: row.state for t in post.server.says_to_address for row in rows.list_for(conn, "ada", t, 9)
        }
    assert states == {"gone@example.com": GIVEN_UP, "full@example.com": PENDING}


def test_one_accounts_backlog_does_not_come_before_everybodys(post: Post) -> None:
    """However many addresses it has, and though its messages are older."""
    for n in range(40):
        post.write(f"mine {n}", f"ada-{n % 20}@example.com")
    post.later(SECOND)
    post.run(lambda tx: accounts.open_account(tx, "bob", "bob@example.com"))
    post.run(lambda tx: outbox.write_mail(tx, "bob", "test", "his", "bob@example.com", Letter("His", "his\n")))
    with post.db.read() as conn:
        due = rows.list_due(conn, MAIL, post.world.wall(), 10, 2)
    assert [account for account, _ in due] == ["ada", "ada", "bob"]


@pytest.mark.parametrize("goodbye", ["421 closing", "250 OK"])
def test_what_a_server_says_to_goodbye_makes_no_difference(post: Post, goodbye: str) -> None:
    post.server.says_to_goodbye = goodbye
    post.server.says_to_address = {"gone@example.com": "550 no such user"}
    post.write("one")
    post.write("gone", "gone@example.com")
    courier = post.courier()
    courier.deliver()
    assert post.row("one").state == SENT
    with post.db.read() as conn:
        (gone,) = rows.list_for(conn, "ada", "gone@example.com", 9)
    assert (gone.state, gone.status) == (GIVEN_UP, 550)
    assert len(post.server.mails) == 1


def test_while_no_server_answers_it_is_tried_for_two_days_and_then_given_up(post: Post) -> None:
    post.write("one")
    courier = post.courier(SmtpMail("smtp://127.0.0.1:1", "billing@example.com"))
    began = post.world.at
    for attempt in range(1, len(WAITS) + 2):
        assert courier.deliver() == 1
        row = post.row("one")
        assert row.attempts == attempt
        if row.state == PENDING:
            assert courier.deliver() == 0
            post.later(row.due_at - post.world.at)
    assert post.row("one").state == GIVEN_UP
    assert "127.0.0.1:1" in post.row("one").failure
    assert DAY < post.world.at - began < LATE
    post.later(DAY)
    assert courier.deliver() == 0


class Dying(SmtpMail):
    """Sends, and dies before anybody can be told."""

    def send(self, message: Message) -> int | None:
        super().send(message)
        raise KeyboardInterrupt


def test_a_process_that_dies_between_sending_and_saying_so_sends_twice_under_one_id(post: Post) -> None:
    post.write("one")
    url = f"smtp://127.0.0.1:{post.server.port}"
    with pytest.raises(KeyboardInterrupt):
        post.courier(Dying(url, "billing@example.com")).deliver()
    other = post.courier()
    assert other.deliver() == 0, "claimed still"
    post.later(CLAIM)
    assert other.deliver() == 1
    assert (post.row("one").state, post.row("one").attempts) == (SENT, 2)
    assert len(post.server.ids) == 2
    assert len(set(post.server.ids)) == 1, "a receiver can tell that it is the same"


def test_a_message_whose_every_attempt_ends_in_a_death_is_given_up(post: Post) -> None:
    post.write("one")
    for _ in range(len(WAITS) + 1):
        with pytest.raises(KeyboardInterrupt):
            post.courier(Dying(f"smtp://127.0.0.1:{post.server.port}", "billing@example.com")).deliver()
        post.later(CLAIM)
    assert post.courier().deliver() == 0
    assert post.row("one").state == GIVEN_UP


def test_many_processes_at_once_send_each_message_once(post: Post) -> None:
    facts = [f"fact {n}" for n in range(40)]
    for n, fact in enumerate(facts):
        post.write(fact, f"u{n}@example.com")
    couriers = [post.courier() for _ in range(4)]
    begin = threading.Barrier(len(couriers))

    def work(courier: Courier) -> None:
        begin.wait()
        while courier.deliver():
            continue

    threads = [threading.Thread(target=work, args=(courier,)) for courier in couriers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(mail["Subject"] for mail in post.server.mails) == sorted(f"About {fact}" for fact in facts)
    with post.db.read() as conn:
        assert rows.count(conn) == {(MAIL, SENT): len(facts)}


def test_a_claim_that_ran_out_says_nothing_of_the_attempt_after_it(post: Post) -> None:
    post.write("one")
    (first,) = post.run(lambda tx: outbox.claim_due(tx, MAIL, 10, 2))
    assert post.run(lambda tx: outbox.claim_due(tx, MAIL, 10, 2)) == []
    post.later(CLAIM)
    (second,) = post.run(lambda tx: outbox.claim_due(tx, MAIL, 10, 2))
    post.run(lambda tx: outbox.record_failure(tx, first, "it took too long", final=True))
    assert post.row("one").state == PENDING
    post.run(lambda tx: outbox.record_sent(tx, second))
    post.run(lambda tx: outbox.record_failure(tx, second, "and then"))
    assert post.row("one").state == SENT


def test_what_was_claimed_long_ago_is_left_to_the_next_claim(post: Post) -> None:
    post.write("one")
    at = iter([0.0, CLAIM / SECOND])
    sender = SmtpMail(f"smtp://127.0.0.1:{post.server.port}", "billing@example.com")
    slow = Courier(post.db, post.run, post.world, sender, monotonic=lambda: next(at))
    assert slow.deliver() == 1
    assert post.server.mails == []
    assert post.row("one").state == PENDING


def test_what_could_not_be_tried_for_days_is_not_sent_any_more(post: Post) -> None:
    """Where mail is set up after weeks, nobody gets the warnings of then."""
    post.write("old")
    post.later(LATE + SECOND)
    post.write("new")
    courier = post.courier()
    while courier.deliver():
        continue
    assert [mail["Subject"] for mail in post.server.mails] == ["About new"]
    assert "too late" in post.row("old").failure


def test_what_is_private_is_forgotten_when_it_is_sent(post: Post) -> None:
    post.write("link", private=True)
    assert "link" in post.row("link").body
    post.courier().deliver()
    assert "This is about link" in post.server.mails[0].get_content()
    assert post.row("link").body == ""


def test_a_stopped_courier_begins_nothing(post: Post) -> None:
    post.write("one")
    courier = post.courier()
    courier.stop()
    courier.run()
    courier.deliver()
    assert post.server.mails == []


@pytest.mark.once
def test_a_password_is_sent_to_this_machine_or_after_starttls_only() -> None:
    message = Message("msg_1", ADA, "Hello", "Hello.\n", 0)
    with mail_server() as server:
        SmtpMail(f"smtp://billing:se%40cret@127.0.0.1:{server.port}", "billing@example.com").send(message)
        assert server.logins == [("billing", "se@cret")]
    with mail_server("127.0.0.2") as server:
        with pytest.raises(Undelivered, match="no STARTTLS"):
            SmtpMail(f"smtp://billing:secret@127.0.0.2:{server.port}", "billing@example.com").send(message)
        assert (server.logins, server.mails) == ([], [])


@pytest.mark.once
def test_a_header_cannot_be_smuggled_in() -> None:
    with mail_server() as server:
        sender = SmtpMail(f"smtp://127.0.0.1:{server.port}", "billing@example.com")
        with pytest.raises(Undelivered) as failed:
            sender.send(Message("msg_1", ADA, "Hello\nBcc: eve@example.com", "Hello.\n", 0))
        assert failed.value.final
        assert server.mails == []


@pytest.mark.once
def test_mail_may_go_into_a_folder(tmp_path: Path) -> None:
    sender = mail_by(f"file://{tmp_path}/mail", "billing@example.com")
    assert isinstance(sender, FolderMail)
    for _ in range(2):
        sender.send(Message("msg_1", ADA, "Hello", "Hello, Ada.\n", 0))
    (path,) = (tmp_path / "mail").iterdir()
    assert "Subject: Hello" in path.read_text()
    assert "Hello, Ada." in path.read_text()


# ── what nobody sends, and what is over ──────────────────────────────────────────────────────────────────────────
def tidied(post: Post) -> int:
    """Tidy to the end; answers in how many parts."""
    parts = 1
    while post.run(outbox.tidy):
        parts += 1
    return parts


def test_mail_that_nobody_sends_is_given_up_after_three_days(post: Post) -> None:
    """Without mail_url there is no courier: whoever does what is due says so of each message."""
    post.write("old")
    post.later(LATE)
    post.write("new")
    tidied(post)
    assert [post.row(each).state for each in ("old", "new")] == [PENDING, PENDING], "not three days yet"
    post.later(SECOND)
    tidied(post)
    row = post.row("old")
    assert (row.state, row.due_at) == (GIVEN_UP, None)
    assert "too late" in row.failure
    assert post.row("new").state == PENDING
    assert post.courier().deliver() == 1, "what is not late goes out once there is a way"


def test_what_was_tried_and_then_left_lying_is_given_up_too(post: Post) -> None:
    post.server.says_to_mail = "451 try again later"
    post.write("one")
    post.courier().deliver()
    post.later(WAITS[0] + LATE + SECOND)
    tidied(post)
    assert post.row("one").state == GIVEN_UP


def test_what_is_private_is_forgotten_when_it_is_given_up_late(post: Post) -> None:
    post.write("link", private=True)
    post.later(LATE + SECOND)
    tidied(post)
    assert (post.row("link").state, post.row("link").body) == (GIVEN_UP, "")


def test_what_has_ended_is_forgotten_after_ninety_days_in_bounded_parts(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "_AT_ONCE", 10)
    courier = post.courier()
    for n in range(25):
        post.write(f"sent {n}")
    while courier.deliver():
        continue
    post.write("given up")
    post.later(LATE + SECOND)
    tidied(post)
    post.later(KEPT - LATE - SECOND)
    post.write("pending")
    assert tidied(post) == 1
    with post.db.read() as conn:
        assert rows.count(conn) == {(MAIL, SENT): 25, (MAIL, GIVEN_UP): 1, (MAIL, PENDING): 1}
    post.later(1)
    assert tidied(post) == 3
    with post.db.read() as conn:
        assert rows.count(conn) == {(MAIL, PENDING): 1}


def test_the_audit_misses_no_mail_of_an_alert_that_was_forgotten_and_misses_one_that_was_not(post: Post) -> None:
    def alert(amount: int) -> None:
        def tell(tx: Tx) -> None:
            assert alert_rows.insert_once(tx.conn, "ada", "2026-03", Alert(FORECAST, amount), 0, tx.now)
            fact = f"alert/2026-03/forecast/{amount}"
            outbox.tell(tx, "ada", ALERT, fact, {}, Letter("Soon", "Soon.\n"))

        post.run(tell)

    def violations() -> list[str]:
        with post.db.read() as conn:
            return [each.message for each in audit.audit(conn).violations]

    alert(1)
    courier = post.courier()
    courier.deliver()
    post.later(KEPT + 1)
    alert(2)
    tidied(post)
    with post.db.read() as conn:
        assert rows.count(conn) == {(MAIL, PENDING): 1}
    assert violations() == []
    change(post.db, "DELETE FROM outbox")
    (missing,) = violations()
    assert "with 0 mails" in missing
    change(post.db, "DELETE FROM alerts WHERE amount = 2")


def test_among_many_accounts_the_longest_due_go_first_and_each_has_its_share(post: Post) -> None:
    """Also where whole parts of what is due are of accounts that have their share."""
    for n in range(450):
        post.write(f"ada's {n}")
    post.later(SECOND)
    for name in ("bob", "cyd", "dan"):
        post.run(lambda tx, name=name: accounts.open_account(tx, name, f"{name}@example.com"))
        for n in range(3):
            told = (name, "test", f"{n}", "x@example.com", Letter("One", "one\n"))
            post.run(lambda tx, told=told: outbox.write_mail(tx, *told))
        post.later(SECOND)
    wall = post.world.wall()
    with post.db.read() as conn:
        assert rows.is_due(conn, MAIL, wall)
        assert not rows.is_due(conn, WEBHOOK, wall)
        assert not rows.is_due(conn, MAIL, 0)
        due = [account for account, _ in rows.list_due(conn, MAIL, wall, 10, 2)]
        assert due == ["ada", "ada", "bob", "bob", "cyd", "cyd", "dan", "dan"]
        assert [account for account, _ in rows.list_due(conn, MAIL, wall, 3, 2)] == ["ada", "ada", "bob"]
        assert len(rows.list_due(conn, MAIL, wall, 500, 500)) == 459


@pytest.mark.sqlite  # PostgreSQL plans by how much there is
def test_what_is_due_is_found_in_an_index_of_its_kind(post: Post) -> None:
    with post.db.read() as conn:
        for query in (rows._due(MAIL, 1), rows._due(MAIL, 1).where(t.outbox.c.account.not_in(["ada"]))):
            spelt = query.compile(conn, compile_kwargs={"literal_binds": True})
            (step,) = conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {spelt}").all()
            assert "USING COVERING INDEX ix_outbox_kind_due_at_id_account (kind=? AND due_at<?)" in step[3]


def test_what_is_pending_is_never_deleted_however_old(post: Post) -> None:
    post.write("one")
    assert post.run(lambda tx: rows.prune(tx.conn, post.world.wall() + 100 * DAY, 10)) == []
    assert post.row("one").state == PENDING


def test_what_is_being_sent_is_not_given_up_meanwhile(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process may claim a late message between the look at it and the giving up."""
    post.write("one")
    post.later(LATE + SECOND)
    true = rows.list_late

    def claimed_meanwhile(conn: Connection, before: int, most: int) -> list[Row]:
        late = true(conn, before, most)
        assert all(rows.claim(conn, row, post.world.wall() + CLAIM) for row in late)
        return late

    monkeypatch.setattr(rows, "list_late", claimed_meanwhile)
    tidied(post)
    assert (post.row("one").state, post.row("one").attempts) == (PENDING, 1)
