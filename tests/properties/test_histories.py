"""Random histories on the real store and flows, each step compared with the reference model."""

from __future__ import annotations

from hypothesis import settings

from tests.properties.machine import History

History.TestCase.settings = settings(max_examples=100, stateful_step_count=40)
TestHistory = History.TestCase
