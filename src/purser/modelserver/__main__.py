"""The command line of the model server: `python -m purser.modelserver --port 8000 --models tiny,small`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import threading

from purser.modelserver.app import Settings, serve
from purser.modelserver.failures import parse_failures


def arguments() -> argparse.ArgumentParser:
    """The options, with their defaults."""
    default = Settings()
    parser = argparse.ArgumentParser("python -m purser.modelserver", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free port (default: 8000)")
    parser.add_argument("--models", default="tiny", help="names, comma separated (default: tiny)")
    parser.add_argument(
        "--pace",
        type=float,
        default=default.tokens_per_second,
        help="tokens a second per stream, 0: no waiting",
    )
    parser.add_argument("--first-token-ms", type=int, default=default.first_token_ms)
    parser.add_argument("--context-tokens", type=int, default=default.context_tokens)
    parser.add_argument(
        "--cache-blocks",
        type=int,
        default=default.cache_blocks,
        help="blocks of 16 tokens per model, 0: no cache",
    )
    parser.add_argument("--api-key", help="refuse requests without this bearer key")
    parser.add_argument("--fail", default="", help="failure directives, as in the x-model-fail header")
    parser.add_argument("--fail-times", type=int, help="for so many requests (default: for all)")
    parser.add_argument(
        "--stop-with-stdin",
        action="store_true",
        help="stop when standard input ends, as when the parent dies",
    )
    return parser


def settings(given: argparse.Namespace) -> Settings:
    """The options as settings; ValueError says what is out of range."""
    models = tuple(dict.fromkeys(name.strip() for name in given.models.split(",") if name.strip()))
    if not models:
        raise ValueError("--models needs at least one name")
    for name in ("pace", "first_token_ms", "cache_blocks"):
        if not getattr(given, name) >= 0:
            raise ValueError(f"--{name.replace('_', '-')} must not be negative")
    if given.context_tokens < 1:
        raise ValueError("--context-tokens must be at least 1")
    parse_failures(given.fail)
    return Settings(
        models,
        given.pace,
        given.first_token_ms,
        given.context_tokens,
        given.cache_blocks,
        given.api_key,
        given.fail,
        given.fail_times,
    )


async def run(given: argparse.Namespace, chosen: Settings) -> None:
    """Serve until SIGINT, SIGTERM or, if so asked, the end of standard input."""
    loop = asyncio.get_running_loop()
    serving = asyncio.ensure_future(serve(given.host, given.port, chosen))
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, serving.cancel)
    if given.stop_with_stdin:

        def watch() -> None:
            while os.read(0, 4096):  # not sys.stdin: its lock would be held at exit, which aborts the interpreter
                continue
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(serving.cancel)

        threading.Thread(target=watch, daemon=True).start()
    with contextlib.suppress(asyncio.CancelledError):
        await serving


def main() -> int:
    """Run the command; 0 when stopped, 1 when it cannot listen, 2 for wrong options."""
    parser = arguments()
    given = parser.parse_args()
    try:
        chosen = settings(given)
    except ValueError as wrong:
        parser.error(str(wrong))
    try:
        asyncio.run(run(given, chosen))
    except OSError as wrong:
        sys.stderr.write(f"modelserver: cannot listen on {given.host}:{given.port}: {wrong.strerror or wrong}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
