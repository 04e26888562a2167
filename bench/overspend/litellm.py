"""LiteLLM as a contestant: its proxy with a budget for each model, whose spend it counts in Redis."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path

from bench.gateways import free_port
from bench.overspend.contestant import Key
from bench.overspend.judge import INPUT_NANOS, OUTPUT_NANOS
from bench.overspend.processes import Running
from bench.overspend.work import CONTEXT_TOKENS, MOST_OUTPUT_TOKENS
from bench.peers import Missing, Peer

PEER = Peer("LiteLLM", "litellm", ("litellm[proxy]==1.108.7",), (3, 10))
_OF_EACH = 16  # budgets of one amount: they stand in its configuration, so that it must know them when it starts
_WINDOW = "30d"

# Its budgets of keys need its database, and that a program (Prisma's query engine) that is in no package registry and
# is downloaded when it starts. Without the database it neither settles what it reserved for a key nor counts spend.
_SETTINGS = """\
general_settings:
  master_key: {master_key}
router_settings:
  redis_host: 127.0.0.1
  redis_port: {redis_port}
  num_retries: 0
  disable_cooldowns: true
litellm_settings:
  num_retries: 0
  request_timeout: 90
model_list:
"""
_MODEL = """\
  - model_name: {name}
    litellm_params:
      model: hosted_vllm/bench
      api_base: {upstream}/v1
      api_key: none
      max_budget: {budget}
      budget_duration: {window}
      input_cost_per_token: {input}
      output_cost_per_token: {output}
    model_info:
      id: {name}
      max_tokens: {most}
      max_input_tokens: {context}
      max_output_tokens: {most}
"""


class LiteLLM:
    """`litellm --config`, one worker or several, and a Redis of its own. Its books are the counters of its budgets."""

    name, grain, quiet_seconds = "LiteLLM", 1, 3.0

    def __init__(self, folder: Path, upstream: str, peers: Path, budgets: Sequence[int], *, workers: int = 1) -> None:
        redis = shutil.which("redis-server")
        if redis is None:
            raise Missing("LiteLLM shares its counts through Redis: redis-server is not installed")
        self.how = (
            f"{PEER.version(peers)}, {workers} worker{'s' * (workers > 1)}, a budget for each model (max_budget, "
            "budget_duration), spend shared through Redis; not its budgets for keys, which need its database"
        )
        self._port, self._redis_port = free_port(), free_port()
        self._master_key = "sk-" + secrets.token_hex(24)
        self._unused = {budget: [f"bench-{budget}-{n}" for n in range(_OF_EACH)] for budget in budgets}
        (folder / "config.yaml").write_text(self._config(upstream), encoding="utf-8")
        words = f"--config config.yaml --host 127.0.0.1 --port {self._port} --num_workers {workers}"
        self._proxy = Running(
            [str(PEER.python(peers).with_name("litellm")), *words.split()],
            self._port,
            str(folder / "litellm.log"),
            folder=folder,
            environment={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False"},
        )
        words = f"--bind 127.0.0.1 --port {self._redis_port} --appendonly no --dir {folder}"
        self._redis = Running(
            [redis, *words.split(), "--save", ""], self._redis_port, str(folder / "redis.log"), folder=folder
        )
        self._redis_runs = False

    def _config(self, upstream: str) -> str:
        prices = {"input": f"{INPUT_NANOS / 1e9:.9f}", "output": f"{OUTPUT_NANOS / 1e9:.9f}"}
        text = _SETTINGS.format(master_key=self._master_key, redis_port=self._redis_port)
        for budget, names in self._unused.items():
            figures = {"budget": f"{budget / 10**9:.9f}", "context": CONTEXT_TOKENS, "most": MOST_OUTPUT_TOKENS}
            for name in names:
                text += _MODEL.format(name=name, upstream=upstream, window=_WINDOW, **figures, **prices)
        return text

    @property
    def urls(self) -> Sequence[str]:
        return [f"http://127.0.0.1:{self._port}"]

    def start(self) -> None:
        if not self._redis_runs:
            self._redis.start()
            self._redis_runs = True
        self._proxy.start()

    def stop(self) -> None:
        self._proxy.stop()
        self._redis.stop()

    def kill(self) -> None:
        """LiteLLM alone: Redis lives on another machine, as it were."""
        self._proxy.kill()

    def open(self, budget: int) -> Key:
        return Key(self._master_key, self._unused[budget].pop())

    def billed(self, key: Key) -> int:
        """The counter that the budget is checked against."""
        with socket.create_connection(("127.0.0.1", self._redis_port), timeout=10) as line:
            line.sendall(f"GET deployment_spend:{key.model}:{_WINDOW}\r\n".encode())
            told = line.recv(200).split(b"\r\n")
        return 0 if told[0] == b"$-1" else round(float(told[1].strip(b'"')) * 10**9)

    def written_off(self, key: Key) -> int:
        return 0

    def kept_back(self, key: Key) -> int:
        return 0
