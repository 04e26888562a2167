"""The questions customers ask about their money, answered with the account's own numbers (D5)."""

from __future__ import annotations

from typing import Annotated

from litestar.params import QueryParameter

from purser.core.answers import QUESTIONS
from purser.core.errors import Invalid
from purser.core.period import format_instant
from purser.flows import answers
from purser.inbound.api.auth import MEMBER
from purser.inbound.api.call import Call
from purser.inbound.api.routes import get
from purser.inbound.api.wire import Name, View

Question = Annotated[
    str | None, QueryParameter(description=f"One of {', '.join(QUESTIONS)}; all of them if not given.")
]
Invoice = Annotated[
    str | None, QueryParameter(description="The invoice that is asked about, by id or number; the newest if not given.")
]


class AnswerView(View):
    """A question, its answer in plain words, and the figures that are in it."""

    question: str
    title: str
    answer: str
    figures: dict[str, str]


class Explanation(View):
    """Answers that were true at one instant."""

    account: str
    as_of: str
    answers: list[AnswerView]


@get("/v1/accounts/{account:str}/explain", MEMBER, counted=False)
def explain_account(request: Call, account: Name, question: Question = None, invoice: Invoice = None) -> Explanation:
    """Explain why an account is suspended, where its credit went, its invoice, and what comes when."""
    if question is not None and question not in QUESTIONS:
        raise Invalid(f"question must be one of {', '.join(QUESTIONS)}, not {question!r:.60}", field="question")
    desk = request.desk
    now = desk.clock.now()
    asked = QUESTIONS if question is None else (question,)
    with desk.read() as conn:
        found = answers.answer_questions(conn, account, desk.policy, now, desk.held(account), asked, invoice)
    return Explanation(
        account,
        format_instant(now),
        [AnswerView(each.question, each.title, each.text, each.figures) for each in found],
    )


ROUTES = [explain_account]
