"""The bundled model server: OpenAI-compatible, deterministic, without weights, failing as it is told to.

It is for demos and tests only. `python -m purser.modelserver` runs it; `ModelServer` embeds it. What it
counts as a token is in `tokens`, how it can be told to fail in `failures`.
"""

from purser.modelserver.app import ModelServer, Settings, serve

__all__ = ["ModelServer", "Settings", "serve"]
