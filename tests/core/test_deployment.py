"""Deployments: their bounds, and when they scale (S52–S60)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from purser.core import deployment as rule
from purser.core.deployment import Scaling, Wish, check_scaling, needed, wish, wish_due_at
from purser.core.errors import Invalid
from purser.core.period import DAY, HOUR, MINUTE, SECOND

SCALING = Scaling(1, 8)


def test_the_defaults_are_the_providers() -> None:
    usual = Scaling()
    assert (usual.least, usual.most, usual.targets) == (0, 1, {"default": 800})
    assert (usual.up_window, usual.down_window, usual.zero_window) == (30 * SECOND, 10 * MINUTE, HOUR)
    assert check_scaling(usual) is usual


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (replace(SCALING, least=-1), "minReplicaCount"),
        (replace(SCALING, most=0), "maxReplicaCount"),
        (replace(SCALING, most=1_001), "maxReplicaCount"),
        (replace(SCALING, up_window=HOUR + 1), "autoscalingPolicy.scaleUpWindow"),
        (replace(SCALING, down_window=-1), "autoscalingPolicy.scaleDownWindow"),
        (replace(SCALING, zero_window=5 * MINUTE - 1), "autoscalingPolicy.scaleToZeroWindow"),
        (replace(SCALING, targets={"humidity": 1}), "autoscalingPolicy.loadTargets"),
        (replace(SCALING, targets={"default": 1_001}), "autoscalingPolicy.loadTargets"),
        (replace(SCALING, targets={"requests_per_second": 0}), "autoscalingPolicy.loadTargets"),
    ],
)
def test_bounds_outside_the_rules_are_refused(wrong: Scaling, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        check_scaling(wrong)
    assert refused.value.field == field


def test_one_replica_is_started_where_none_must_be_there() -> None:
    starts = [Scaling(least, most).begins_with() for least, most in ((0, 1), (2, 5), (0, 0))]
    assert starts == [1, 2, 0]


def test_accelerators_and_their_quotas() -> None:
    assert rule.check_accelerator("NVIDIA_H100_80GB") == "NVIDIA_H100_80GB"
    assert rule.QUOTAS["nvidia-h100-80gb"] == "NVIDIA_H100_80GB"
    with pytest.raises(Invalid):
        rule.check_accelerator("TPU")
    assert rule.check_gpus(8) == 8
    for wrong in (0, 65):
        with pytest.raises(Invalid):
            rule.check_gpus(wrong)


def test_the_target_that_asks_for_most_decides() -> None:
    assert needed(SCALING, 2, {"default": 1_000}) == 3
    assert needed(SCALING, 2, {"default": 800}) == 2
    assert needed(SCALING, 2, {"requests_per_second": 9_000}) == 0  # there is no target for it
    both = replace(SCALING, targets={"default": 800, "requests_per_second": 2_000})
    assert needed(both, 1, {"default": 100, "requests_per_second": 9_000}) == 5


def test_what_load_asks_for_counts_once_it_has_lasted() -> None:
    more = wish(SCALING, 2, 4, None, 100)
    assert more == Wish(4, 100)
    assert wish(SCALING, 2, 5, more, 200) == Wish(5, 100)
    assert wish(SCALING, 2, 2, more, 200) is None
    fewer = wish(SCALING, 2, 0, more, 300)
    assert fewer == Wish(1, 300)
    assert wish(SCALING, 4, 3, Wish(2, 300), 400) == Wish(3, 300)  # the most that was asked for meanwhile
    assert wish(SCALING, 8, 99, None, 0) is None
    assert wish_due_at(SCALING, 2, Wish(4, 100)) == 100 + 30 * SECOND
    assert wish_due_at(SCALING, 2, Wish(1, 300)) == 300 + 10 * MINUTE


def test_s57_s58_without_requests_it_goes_to_zero_and_is_deleted_unless_one_must_be_there() -> None:
    assert rule.idle_at(Scaling(), 5) == 5 + HOUR
    assert rule.deleted_at(Scaling(), 5) == 5 + 7 * DAY
    assert rule.idle_at(SCALING, 5) is rule.deleted_at(SCALING, 5) is None


def test_equal_rates_are_equal() -> None:
    assert rule.simplest(7_000_000_000, 3_600) == rule.simplest(14_000_000_000, 7_200)
    assert rule.simplest(0, 3_600) == (0, 1)
