"""The operator's rules in one frozen value: credit, tiers, thresholds, dunning days, request rates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from purser.core.deployment import REPORTED
from purser.core.limits import DEFAULT_TIERS, POSTPAID, PREPAID, Tier
from purser.core.money import NANOS_PER_CENT, NANOS_PER_USD
from purser.core.payment import DEFAULT_DUNNING_DAYS

AT_SIGN_UP, WITH_CARD = "at_sign_up", "with_card"  # when the sign-up credit is given


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator may set; the defaults are the rules' own."""

    signup_credit_nanos: int = NANOS_PER_USD
    signup_credit_rule: str = AT_SIGN_UP
    tiers: tuple[Tier, ...] = DEFAULT_TIERS
    default_mode: str = POSTPAID
    prepaid_from_at: int | None = None
    depletion_threshold_nanos: int = 1_000_000
    minimum_charge_nanos: int = 50 * NANOS_PER_CENT
    dunning_days: tuple[int, ...] = DEFAULT_DUNNING_DAYS
    payment_grace_days: int = 0
    cached_is_input: bool = False
    requests_per_minute: int = 6_000
    requests_per_minute_unverified: int = 10
    wrong_keys_per_minute: int = 600
    prompt_tokens_per_minute: int | None = None
    uncached_prompt_tokens_per_minute: int | None = None
    generated_tokens_per_minute: int | None = None
    model_sizes: Mapping[str, str] = field(default_factory=dict)  # of those that are not large
    slice_tokens: int = 1_024
    lease_nanos: int = 100 * NANOS_PER_CENT
    hold_wait_seconds: int = 2
    ttl_seconds: int = 10
    drain_seconds: int = 30
    webhook_private_addresses: bool = False
    sign_up: bool = False
    fleet: str = REPORTED
    replica_ready_seconds: int = 60
    deployment_slice_seconds: int = 600
    deployment_warning_seconds: int = 1_800

    def mode_for(self, created_at: int) -> str:
        """The billing mode of an account created then: prepaid from the cut-over on (A2, S36)."""
        if self.prepaid_from_at is not None and created_at >= self.prepaid_from_at:
            return PREPAID
        return self.default_mode
