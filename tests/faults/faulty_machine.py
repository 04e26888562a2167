"""`purser` on a machine that fails when it is told to, for real as far as the program can see.

`python faulty_machine.py FOLDER serve …` runs purser with these words. A file FOLDER/PID of one line tells that
process: `fail EIO fsync fdatasync` makes these system calls fail with that error from then on, by a filter in the
kernel, for every thread; `clock 86400` sets its wall clock ahead by so many seconds. The file is gone once it is so.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

# The numbers of system calls, by machine.
CALLS = {
    "x86_64": {"pwrite64": 18, "fsync": 74, "fdatasync": 75, "ftruncate": 77, "fallocate": 285, "seccomp": 317},
    "aarch64": {"ftruncate": 46, "fallocate": 47, "pwrite64": 68, "fsync": 82, "fdatasync": 83, "seccomp": 277},
}
_SET_NO_NEW_PRIVILEGES, _SET_FILTER, _ALL_THREADS = 38, 1, 1
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000
_PAUSE_SECONDS = 0.01


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def _fail(error: str, names: list[str]) -> None:
    """Have the kernel answer these calls with an error."""
    numbers = CALLS[platform.machine()]
    steps = [struct.pack("HBBI", _LOAD, 0, 0, 0)]  # the call's number
    for left, name in zip(range(len(names), 0, -1), names, strict=True):
        steps.append(struct.pack("HBBI", _JUMP_IF_EQUAL, left, 0, numbers[name]))
    steps.append(struct.pack("HBBI", _RETURN, 0, 0, _ALLOW))
    steps.append(struct.pack("HBBI", _RETURN, 0, 0, _ERROR | getattr(errno, error)))
    libc = ctypes.CDLL(None, use_errno=True)
    program = _Program(len(steps), b"".join(steps))
    if libc.prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.syscall(
        numbers["seccomp"], _SET_FILTER, _ALL_THREADS, ctypes.byref(program)
    ):
        raise OSError(ctypes.get_errno(), "the kernel takes no filter of system calls")


def takes_filters() -> bool:
    """Whether the kernel answers calls as it is told, which it may be kept from where the tests run."""
    if platform.machine() not in CALLS:
        return False
    code = f"import runpy; runpy.run_path({__file__!r})['_fail']('EIO', ['fdatasync'])"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


_wall = time.time_ns
_ahead_nanos = 0


def _obey(line: str) -> None:
    global _ahead_nanos
    word, *more = line.split()
    if word == "fail":
        _fail(more[0], more[1:])
    else:
        _ahead_nanos = int(more[0]) * 1_000_000_000
        time.time_ns = lambda: _wall() + _ahead_nanos


def _watch(path: Path) -> None:
    while True:
        if path.exists():
            _obey(path.read_text())
            path.unlink()
        time.sleep(_PAUSE_SECONDS)


if __name__ == "__main__":
    folder, sys.argv = Path(sys.argv[1]), ["purser", *sys.argv[2:]]
    threading.Thread(target=_watch, args=(folder / str(os.getpid()),), daemon=True).start()
    from purser.main import run

    run()
