"""Requests that name a deployment: they keep it up, or start it, and are told when it cannot answer yet (S59)."""

from __future__ import annotations

from functools import partial

from purser.core.errors import Conflict, NotFound
from purser.flows import deployments
from purser.flows.access import Principal
from purser.gateway.cashier import Cashier
from purser.gateway.refusals import Refusal, no_model
from purser.store.writers import Tx

_AGAIN_SECONDS = 10


async def refuse(cashier: Cashier, principal: Principal, model: str) -> Refusal:
    """What a request is told whose model is not served here, such as "accounts/ada/deployments/llama".

    That of the account's own deployment is a request to it: one at zero replicas starts, and nothing is charged.
    """
    kind, _, rest = model.partition("/")
    account, _, name = rest.partition("/deployments/")
    if kind != "accounts" or account != principal.account or not name:
        return no_model(model)
    try:
        ready, wanted = await cashier.run(partial(_note, account=account, name=name))
    except (NotFound, Conflict):
        return no_model(model)
    if ready:
        message = f"The deployment {name} is ready, and answers at its own address: requests to it are not relayed."
        return Refusal(404, "model_not_found", message, param="model")
    if not wanted:
        message = f"The deployment {name} has no replica, and may not start one: look at its bounds and its GPU quota."
        return Refusal(503, "DEPLOYMENT_SCALED_TO_ZERO", message, headers=[(b"x-should-retry", b"false")])
    message = f"The deployment {name} is starting; send the request again in a moment. Nothing was charged."
    return Refusal(503, "DEPLOYMENT_SCALING_UP", message, headers=[(b"retry-after", b"%d" % _AGAIN_SECONDS)])


def _note(tx: Tx, account: str, name: str) -> tuple[int, int]:
    fleet = deployments.note_request(tx, account, name).fleet
    return fleet.billable, fleet.desired
