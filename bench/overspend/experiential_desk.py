"""The desk of experiential: runs its own commands in one process, a line of JSON words each, and says what they answer.

Its environment's Python runs it; nothing here imports it. Each command takes seconds to start on its own.
"""

from __future__ import annotations

import json
import sys

from exp.cli.app import app  # type: ignore[import-not-found]

for line in sys.stdin:
    sys.stdout.flush()
    try:
        app(json.loads(line), standalone_mode=False)
    except Exception as error:
        print(json.dumps({"error": repr(error)}))
    print(flush=True)
