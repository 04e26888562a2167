"""Cores: one for what is measured, one for what loads it, and what the processes on them have used."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Sequence
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def measured_core() -> int:
    """The core of what is measured."""
    return min(os.sched_getaffinity(0))


def load_core() -> int:
    """The core of the load and the model server; the same one where there is only one."""
    return max(os.sched_getaffinity(0))


def pinned(command: Sequence[str], core: int | None) -> list[str]:
    """The command bound to one core unless that is None, with every thread and child it makes."""
    taskset = shutil.which("taskset")
    return [taskset, "-c", str(core), *command] if taskset and core is not None else list(command)


def tree(pid: int) -> list[int]:
    """A process and its descendants."""
    found = [pid]
    for each in found:
        for task in _listed(Path(f"/proc/{each}/task")):
            found += [int(child) for child in _read(Path(f"/proc/{each}/task/{task}/children")).split()]
    return found


def cpu_seconds(pid: int) -> float:
    """What all threads of a process and its descendants have used in user and system mode, ended children included."""
    ticks = 0
    for each in tree(pid):
        fields = _read(Path(f"/proc/{each}/stat")).rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:15])) if each == pid else sum(map(int, fields[11:13])) if fields else 0
    return ticks / _TICK


def memory_bytes(pid: int) -> int:
    """Resident memory of a process and its descendants, what they share counted once (PSS where it can be read)."""
    total = 0
    for each in tree(pid):
        rollup = _kilobytes(_read(Path(f"/proc/{each}/smaps_rollup")), "Pss:")
        total += rollup or _kilobytes(_read(Path(f"/proc/{each}/status")), "VmRSS:")
    return total * 1024


def resident_bytes(pid: int) -> int:
    """Resident memory of one process."""
    return _kilobytes(_read(Path(f"/proc/{pid}/status")), "VmRSS:") * 1024


def machine() -> str:
    """The machine in one line."""
    model = _read(Path("/proc/cpuinfo")).partition("model name")[2].partition("\n")[0].strip(" \t:")
    system = os.uname()
    cores, python = len(os.sched_getaffinity(0)), platform.python_version()
    return f"{model or system.machine}, {cores} cores, {system.sysname} {system.release}, Python {python}"


def _kilobytes(text: str, name: str) -> int:
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith(name)), 0)


def _listed(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
