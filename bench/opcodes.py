"""Where the event loop's work on a request goes: Python bytecodes and calls by function, the same on any machine.

`python -m bench.opcodes [--streams] [--counted] [--all]`. Clocks are noisy and profilers sample; what the interpreter
executes for one request is exact, and what a change saves shows at once. A bytecode costs about 15 ns in place. What C
code does (parsers, the kernel, the database) is not in it; nor are other threads.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import uvloop

from bench import load, money, tables
from bench.gateway import scratch
from bench.gateways import Gateway, configure, model_server, open_account
from purser import settings
from purser.inbound.api import create_routes
from purser.main import process

_TIMES = {"JSON": 50, "streams": 10}
_SHOWN = 40
_PACE_MS = 5.0  # so that every chunk of a stream comes by itself, traced as it is


class Tally:
    """Counts bytecodes and calls by code object, on the thread that it is set on."""

    def __init__(self) -> None:
        self.bytecodes: Counter[CodeType] = Counter()
        self.calls: Counter[CodeType] = Counter()

    def trace(self, frame: FrameType, event: str, _: Any) -> Any:
        """The interpreter's word that it enters a function or executes a bytecode."""
        if event == "opcode":
            self.bytecodes[frame.f_code] += 1
        elif event == "call":
            frame.f_trace_opcodes = True
            frame.f_trace_lines = False
            self.calls[frame.f_code] += 1
        return self.trace


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.opcodes", description=__doc__)
    parser.add_argument("--streams", action="store_true", help="streams of 50 chunks instead of JSON answers")
    parser.add_argument("--counted", action="store_true", help="streams with running usage on every chunk")
    parser.add_argument("--all", action="store_true", help="every function, not only the dearest")
    options = parser.parse_args()
    kind = "streams" if options.streams or options.counted else "JSON"
    with scratch() as folder, model_server(_PACE_MS) as server:
        body = load.write_body(folder, kind, "counted" if options.counted else "bench")
        config, operator_key = configure(folder, server.url, f"sqlite:///{folder}/purser.db")
        tally = uvloop.run(_count(config, operator_key, body, _TIMES[kind]))
    times = _TIMES[kind]
    total, calls = sum(tally.bytecodes.values()), sum(tally.calls.values())
    print(f"{kind}: {total / times:,.0f} bytecodes and {calls / times:,.0f} calls per request on the event loop\n")
    shown = tally.bytecodes.most_common(None if options.all else _SHOWN)
    rows = [[_name(code), f"{count / times:.0f}", f"{tally.calls[code] / times:.1f}"] for code, count in shown]
    print(tables.table(["function", "bytecodes", "calls"], rows))


async def _count(config: Path, operator_key: str, body: Path, times: int) -> Tally:
    loaded = settings.load(config, {"PURSER_OPERATOR_KEY": operator_key}, {"port": 0})
    listener = process.listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    running = await process.start(loaded, [listener], create_routes())
    tally = Tally()
    loop = asyncio.get_running_loop()

    def ask() -> None:
        gateway = Gateway("purser", url, None, open_account(url, operator_key), operator_key)
        money.ask_one_by_one(gateway, body, 10)  # what happens once has happened
        loop.call_soon_threadsafe(sys.settrace, tally.trace)
        money.ask_one_by_one(gateway, body, times)
        loop.call_soon_threadsafe(sys.settrace, None)

    await asyncio.to_thread(ask)
    await process.stop(running, 5)
    return tally


def _name(code: CodeType) -> str:
    path = Path(code.co_filename)
    return f"{path.parent.name}/{path.name} {code.co_qualname}" if path.is_file() else code.co_qualname


if __name__ == "__main__":
    main()
