"""Deployments: replicas of a model on GPUs of its own, what they may be, and when they scale (P6, S52–S61)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import gcd

from purser.core.errors import Invalid
from purser.core.period import DAY, HOUR, MINUTE, SECOND

ACCELERATORS = (
    "NVIDIA_A100_80GB",
    "NVIDIA_H100_80GB",
    "AMD_MI300X_192GB",
    "NVIDIA_A10G_24GB",
    "NVIDIA_A100_40GB",
    "NVIDIA_L4_24GB",
    "NVIDIA_H200_141GB",
    "NVIDIA_B200_180GB",
    "AMD_MI325X_256GB",
    "AMD_MI350X_288GB",
    "NVIDIA_B300_288GB",
)
CREATING, READY, FAILED, DELETED = STATES = ("CREATING", "READY", "FAILED", "DELETED")
SIMULATED, REPORTED = "simulated", "reported"  # who runs the replicas: nobody, for trying out, or an orchestrator
DEFAULT_QUOTA = 8  # GPUs of one accelerator
IDLE_LIFE = 7 * DAY  # of a deployment that may have no replica and gets no request (S58)
UNDELETABLE = 60 * DAY  # for so long a deleted one can be had back
SLOW_START = HOUR  # who is not ready by then has probably crashed
CUSTOMER = "CUSTOMER"  # scaled to zero by the customer; else it is a cause of suspension, or OUT_OF_MONEY
OUT_OF_MONEY = "OUT_OF_MONEY"
LOADS = (
    "default",
    "tokens_generated_per_second",
    "prompt_tokens_per_second",
    "requests_per_second",
    "concurrent_requests",
)
MILLI = 1_000  # loads and their targets are kept in thousandths
_TARGET = 800  # of "default": a replica is to be used for four fifths
MOST_REPLICAS, MOST_GPUS = 1_000, 64
_LARGEST_LOAD = 10**15


@dataclass(frozen=True, slots=True)
class Scaling:
    """Between how many replicas, and how fast: spans in microseconds, targets in thousandths for each replica."""

    least: int = 0
    most: int = 1
    up_window: int = 30 * SECOND
    down_window: int = 10 * MINUTE
    zero_window: int = HOUR
    targets: Mapping[str, int] = field(default_factory=lambda: {"default": _TARGET})

    def bounded(self, replicas: int) -> int:
        """The nearest number of replicas that these bounds allow."""
        return min(max(replicas, self.least), self.most)

    def begins_with(self) -> int:
        """How many replicas are started at first, and when the first request comes to one that has none."""
        return self.bounded(max(self.least, 1))


def check_scaling(scaling: Scaling) -> Scaling:
    """The same, where it keeps to the rules; raises Invalid naming the field."""
    if not 0 <= scaling.least <= MOST_REPLICAS:
        raise Invalid(f"minReplicaCount must be from 0 to {MOST_REPLICAS}", field="minReplicaCount")
    if not scaling.least <= scaling.most <= MOST_REPLICAS:
        raise Invalid(
            f"maxReplicaCount must be from minReplicaCount ({scaling.least}) to {MOST_REPLICAS}, not {scaling.most}",
            field="maxReplicaCount",
        )
    for name, window, least in (
        ("scaleUpWindow", scaling.up_window, 0),
        ("scaleDownWindow", scaling.down_window, 0),
        ("scaleToZeroWindow", scaling.zero_window, 5 * MINUTE),
    ):
        most = HOUR if least == 0 else 30 * DAY
        if not least <= window <= most:
            says = "0s to 3600s" if least == 0 else "300s (5 minutes) to 2592000s"
            raise Invalid(f"{name} must be from {says}", field=f"autoscalingPolicy.{name}")
    for name, target in scaling.targets.items():
        if name not in LOADS:
            says = f"loadTargets.{name:.40} is not known; known: {', '.join(LOADS)}"
            raise Invalid(says, field="autoscalingPolicy.loadTargets")
        if not 1 <= target <= (MILLI if name == "default" else _LARGEST_LOAD):
            says = "above 0" if name != "default" else "above 0 and at most 1"
            raise Invalid(f"loadTargets.{name} must be {says}", field="autoscalingPolicy.loadTargets")
    return scaling


def check_accelerator(name: object) -> str:
    """An accelerator's name; raises Invalid."""
    if name not in ACCELERATORS:
        raise Invalid(
            f"acceleratorType must be one of {', '.join(ACCELERATORS)}, not {name!r:.60}", field="acceleratorType"
        )
    return str(name)


def check_gpus(count: int) -> int:
    """How many accelerators a replica has; raises Invalid."""
    if not 1 <= count <= MOST_GPUS:
        raise Invalid(f"acceleratorCount must be from 1 to {MOST_GPUS}, not {count}", field="acceleratorCount")
    return count


def quota_of(accelerator: str) -> str:
    """The name of an accelerator's quota: "nvidia-h100-80gb"."""
    return accelerator.lower().replace("_", "-")


QUOTAS = {quota_of(name): name for name in ACCELERATORS}


# ── autoscaling ──────────────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class Wish:
    """How many replicas the load has asked for, and since when it has asked for more, or for fewer, than there are."""

    replicas: int
    since_at: int


def needed(scaling: Scaling, ready: int, loads: Mapping[str, int]) -> int:
    """How many replicas the load asks for, by the target that asks for most; loads in thousandths.

    "default" is how far each ready replica is used, from 0 to 1; the others are sums over all replicas. Two replicas
    used to 1.0 with a target of 0.8 ask for three. A load without a target says nothing.
    """
    asked = [0]
    for name, target in scaling.targets.items():
        load = loads.get(name, 0) * (ready if name == "default" else 1)
        asked.append(-(-load // target))
    return max(asked)


def wish(scaling: Scaling, desired: int, replicas: int, before: Wish | None, now: int) -> Wish | None:
    """What is to be remembered of what load asks for; None where as many are there. Load asks for no fewer than one.

    While it goes on asking for more, or for fewer, the first moment counts; of fewer, the most that was asked for.
    """
    asked = scaling.bounded(max(1, replicas))
    if asked == desired:
        return None
    if before is None or (before.replicas > desired) != (asked > desired):
        return Wish(asked, now)
    return Wish(asked if asked > desired else max(asked, before.replicas), before.since_at)


def wish_due_at(scaling: Scaling, desired: int, wished: Wish) -> int:
    """When a wish is fulfilled, if it stays so long."""
    return wished.since_at + (scaling.up_window if wished.replicas > desired else scaling.down_window)


def idle_at(scaling: Scaling, active_at: int) -> int | None:
    """When a deployment that was last active then has no replica any more; None where it always has some (S56, S57)."""
    return active_at + scaling.zero_window if scaling.least == 0 else None


def deleted_at(scaling: Scaling, requested_at: int) -> int | None:
    """When it is deleted, if no request comes meanwhile (S58)."""
    return requested_at + IDLE_LIFE if scaling.least == 0 else None


# ── GPU-time ─────────────────────────────────────────────────────────────────────────────────────────────────────
def simplest(nanos: int, per: int) -> tuple[int, int]:
    """A rate in lowest terms, so that the same price in two versions of the book is the same rate."""
    shared = gcd(nanos, per) or 1
    return nanos // shared, per // shared
