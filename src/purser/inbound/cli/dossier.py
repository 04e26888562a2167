"""The command that fetches all data of an account as one zip."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from purser.inbound.cli.failure import Failure
from purser.inbound.cli.reach import Way
from purser.inbound.cli.show import counting, tell
from purser.inbound.cli.wire import at

_ANYWHERE = Way()
_END_OF_FILE = b"PK\x07\x08"  # what a zip has after each file


def export(
    account: Annotated[str, Parameter(help="Which account.")],
    /,
    *,
    file: Annotated[Path | None, Parameter(help="Where to; ACCOUNT.zip if not given.")] = None,
    output: Annotated[str, Parameter(name=["--output", "-o"], help="table, or json: how to say what was written.")] = (
        "table"
    ),
    way: Way = _ANYWHERE,
) -> None:
    """Fetch all data of an account as one zip of JSON lines: users, keys without secrets, usage, ledger, documents.

    Example: purser account export ada --file ada.zip
    """
    caller = way.call(account)
    target = file or Path(f"{account}.zip")
    # Beside the file and then in its place, so that what is there under its name is always whole.
    part = target.with_name(f"{target.name}.part")
    done, size, last = 0, 0, b""
    try:
        with part.open("wb") as out, caller.reading(f"{at('v1', 'accounts', account)}:export", {}) as (headers, pieces):
            total = int(headers.get("x-purser-parts", "0"))
            with counting("exporting", total) as count:
                for piece in pieces:
                    out.write(piece)
                    size += len(piece)
                    done += (last + piece).count(_END_OF_FILE)
                    last = piece[-len(_END_OF_FILE) + 1 :]
                    count(min(done, total) if total else done)
        part.replace(target)
    except OSError as error:
        raise Failure(f"{error.filename or target} cannot be written: {os.strerror(error.errno or 0)}") from None
    finally:
        part.unlink(missing_ok=True)
    if output == "json":
        print(json.dumps({"account": account, "file": str(target), "bytes": size, "files": done}, indent=2))
    else:
        tell(f"{target} holds all data of {account}: {size:,} bytes, {done} files.")
