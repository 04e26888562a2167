"""LiteLLM as a contestant: its proxy with a budget for each key, whose spend it counts in Redis."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path

from bench.gateways import free_port
from bench.overspend.judge import INPUT_NANOS, OUTPUT_NANOS
from bench.overspend.processes import Running
from bench.overspend.work import CONTEXT_TOKENS, MOST_OUTPUT_TOKENS
from bench.peers import Missing, Peer

PEER = Peer("LiteLLM", "litellm", ("litellm[proxy]==1.108.7",), (3, 10))

_CONFIG = """\
model_list:
  - model_name: bench
    litellm_params:
      model: hosted_vllm/bench
      api_base: {upstream}/v1
      api_key: none
      input_cost_per_token: {input}
      output_cost_per_token: {output}
    model_info:
      max_tokens: {most}
      max_input_tokens: {context}
      max_output_tokens: {most}
      input_cost_per_token: {input}
      output_cost_per_token: {output}
general_settings:
  master_key: {master_key}
  custom_auth: litellm_keys.authenticate
  custom_auth_run_common_checks: true
  fail_closed_budget_enforcement: true
litellm_settings:
  num_retries: 0
  request_timeout: 90
  cache: true
  cache_params:
    type: redis
    host: 127.0.0.1
    port: {redis_port}
    ttl: 86400
    supported_call_types: []
"""


class LiteLLM:
    """`litellm --config`, one worker or several, and a Redis of its own. Its books are the counters of its budgets."""

    name, grain, quiet_seconds = "LiteLLM", 1, 3.0

    def __init__(self, folder: Path, upstream: str, peers: Path, *, workers: int = 1) -> None:
        redis = shutil.which("redis-server")
        if redis is None:
            raise Missing("LiteLLM counts spend in Redis: redis-server is not installed (apt-get install redis-server)")
        self.how = (
            f"{PEER.version(peers)}, {workers} worker{'s' * (workers > 1)}, budgets of keys by custom_auth with its "
            "common checks, fail_closed_budget_enforcement, spend counted in Redis; no Postgres"
        )
        self._port, self._redis_port = free_port(), free_port()
        shutil.copy(Path(__file__).with_name("litellm_keys.py"), folder)
        figures = {"context": CONTEXT_TOKENS, "most": MOST_OUTPUT_TOKENS, "redis_port": self._redis_port}
        prices = {"input": f"{INPUT_NANOS / 1e9:.9f}", "output": f"{OUTPUT_NANOS / 1e9:.9f}"}
        config = folder / "config.yaml"
        master_key = "sk-" + secrets.token_hex(24)
        config.write_text(
            _CONFIG.format(upstream=upstream, master_key=master_key, **figures, **prices), encoding="utf-8"
        )
        program = PEER.python(peers).with_name("litellm")
        words = f"--config {config.name} --host 127.0.0.1 --port {self._port} --num_workers {workers}"
        self._proxy = Running(
            [str(program), *words.split()],
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
        self._keys = 0

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

    def open(self, budget: int) -> str:
        self._keys += 1
        return f"sk-{secrets.token_hex(12)}{self._keys}-{budget}"

    def billed(self, key: str) -> int:
        """The counter that the key's budget is checked against."""
        counter = f"spend:key:{hashlib.sha256(key.encode()).hexdigest()}"
        with socket.create_connection(("127.0.0.1", self._redis_port), timeout=10) as line:
            line.sendall(f"GET {counter}\r\n".encode())
            told = line.recv(200).split(b"\r\n")
        return 0 if told[0] == b"$-1" else round(float(told[1]) * 10**9)

    def written_off(self, key: str) -> int:
        return 0
