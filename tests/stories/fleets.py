"""The commands and expectations of the story language about deployments: replicas on GPUs, reported or simulated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from purser.core.deployment import Scaling
from purser.core.policy import Policy
from purser.core.usage import GPU_SECONDS
from purser.flows import deployments
from purser.flows.deployments import Report
from purser.store import deployments as rows
from purser.store import schema as t
from purser.store import usage
from purser.store.db import Connection
from purser.store.deployments import Deployment
from tests.stories.language import number, options, when
from tests.stories.scene import Outcome, Scene

Words = tuple[str, ...]


def deploy(scene: Scene, words: Words) -> Outcome:
    """`deploy NAME ID ACCELERATOR [gpus N] [min N] [max N]`: a deployment, whose first replicas start."""
    name, id_, accelerator = words[:3]
    given = {key: number(value) for key, value in options(words[3:], ("gpus", "min", "max")).items()}
    scaling = Scaling(*deployments.default_scaling(given.get("min"), given.get("max")))
    new = Deployment(name, id_, "a model", accelerator, given.get("gpus", 1), scaling, 0, 0)
    scene.write(lambda tx: deployments.create(tx, new))
    return Outcome(name)


def ready(scene: Scene, words: Words) -> Outcome:
    """`ready NAME ID N`: an orchestrator reports that so many replicas are ready."""
    name, id_, count = words
    scene.write(lambda tx: deployments.report(tx, name, id_, Report(ready=number(count))))
    return Outcome(name)


def scale(scene: Scene, words: Words) -> Outcome:
    """`scale NAME ID N`: so many replicas are to run."""
    name, id_, count = words
    scene.write(lambda tx: deployments.scale(tx, name, id_, number(count)))
    return Outcome(name)


def traffic(scene: Scene, words: Words) -> Outcome:
    """`traffic NAME ID`: a request comes to the deployment."""
    name, id_ = words
    scene.write(lambda tx: deployments.note_request(tx, name, id_))
    return Outcome(name)


def undeploy(scene: Scene, words: Words) -> Outcome:
    """`undeploy NAME ID`, `redeploy NAME ID`: a deployment is deleted, and had back."""
    name, id_ = words
    scene.write(lambda tx: deployments.delete(tx, name, id_, ignore_checks=True))
    return Outcome(name)


def redeploy(scene: Scene, words: Words) -> Outcome:
    """`redeploy NAME ID`: a deleted deployment is had back."""
    name, id_ = words
    scene.write(lambda tx: deployments.undelete(tx, name, id_))
    return Outcome(name)


def reserve(scene: Scene, words: Words) -> Outcome:
    """`reserve NAME ACCELERATOR N from TIME until TIME`: GPUs that are not billed on demand."""
    name, accelerator, count = words[:3]
    given = options(words[3:], ("from", "until"))
    start, end = when([given["from"]]), when([given["until"]])
    scene.write(lambda tx: deployments.reserve(tx, name, accelerator, number(count), start, end))
    return Outcome(name)


def gpu_quota(scene: Scene, words: Words) -> Outcome:
    """`gpu-quota NAME ACCELERATOR N`: how many GPUs the account may have, by the operator."""
    name, accelerator, count = words
    scene.write(lambda tx: deployments.set_quota(tx, name, accelerator, number(count)))
    return Outcome(name)


COMMANDS: Mapping[str, Callable[[Scene, Words], Outcome]] = {
    "deploy": deploy,
    "ready": ready,
    "scale": scale,
    "traffic": traffic,
    "undeploy": undeploy,
    "redeploy": redeploy,
    "reserve": reserve,
    "gpu-quota": gpu_quota,
}
POLICIES: Mapping[str, Callable[[Policy, Words], Policy]] = {
    "fleet": lambda given, values: replace(given, fleet=values[0]),
    "ready-seconds": lambda given, values: replace(given, replica_ready_seconds=number(values[0])),
}


# ── what can be expected ─────────────────────────────────────────────────────────────────────────────────────────
def list_deployments(conn: Connection, account: str) -> list[str]:
    """Every deployment with how many replicas are ready and wanted, and why it is at none."""
    fleets = rows.list_fleets(conn, account)
    told = []
    for each in reversed(rows.list_of(conn, account, deleted=True)):
        fleet = fleets[each.id]
        stands = f"{each.id} {each.state} {fleet.ready} of {fleet.desired}"
        told.append(f"{stands} {fleet.stopped_for}".rstrip())
    return told


def gpu_seconds(conn: Connection, account: str) -> str:
    """All GPU-seconds that were billed."""
    events = usage.list_events(conn, account, 100_000)
    return str(sum(usage.decode_quantities(event.quantities).get(GPU_SECONDS, 0) for event in events))


def mails(conn: Connection, account: str) -> str:
    """The mails that told of deployments, by what they told, in their order."""
    c = t.outbox.c
    query: Any = sa.select(c.topic).where(c.account == account, c.kind == "mail", c.topic.like("deployment.%"))
    topics = [str(row[0]).partition(".")[2] for row in conn.execute(query.order_by(c.id))]
    return " ".join(topics) or "none"
