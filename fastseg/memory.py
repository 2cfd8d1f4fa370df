"""How much memory there is, and how much of it a job may take."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import sys
from pathlib import Path
from typing import Any

MEBIBYTE = 2**20
# Below this Python, the largest table of a counter and two regions do not fit.
LEAST = 512 * MEBIBYTE
# What Python, the libraries and the tables of a counter take beside pixels.
ENGINE_BYTES = 200 * MEBIBYTE
# Bytes that clustering takes for each distinct value.
VALUE_BYTES = 60
# Folder of memory's control groups, and there: the limit, what is used, and of it file cache.
_CGROUP_V2 = ("", "memory.max", "memory.current", "inactive_file")
_CGROUP_V1 = (
    "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file",
)  # fmt: skip
_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of glibc's malloc.h
_UNITS = {"": 1, "k": 10, "m": 20, "g": 30, "t": 40}


def memory_budget(memory: int | str | None = None) -> int:
    """Bytes a job may take: as asked, else a quarter of what is free and at least 512 MiB.

    Parameters
    ----------
    memory : int or str, optional
        Bytes, or words such as ``"1GiB"``, ``"800 MiB"`` or ``"2GB"``.

    Raises
    ------
    ValueError, TypeError
        If it is no such size, or less than 512 MiB.
    """
    if memory is None:
        free = free_memory()
        return LEAST if free is None else max(LEAST, free // 4)
    size = _bytes_of(memory) if isinstance(memory, str) else memory
    if isinstance(size, bool) or not isinstance(size, int):
        raise TypeError(f"memory must be bytes or words such as '1GiB', got {memory!r}")
    if size < LEAST:
        raise ValueError(
            f"memory={memory!r} is {size / MEBIBYTE:.0f} MiB, less than the {LEAST // MEBIBYTE} MiB"
            " that are needed; give more"
        )
    return size


def _bytes_of(words: str) -> int:
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?\s*", words.lower())
    if found is None or (found[3] and not found[2]):
        raise ValueError(f"memory must be a size such as 1GiB, 800MiB or 2GB, got {words!r}")
    power = _UNITS[found[2]]
    unit = 2**power if found[3] or power == 1 else 1000 ** (power // 10)
    return int(float(found[1]) * (1 if not found[2] else unit))


def free_memory() -> int | None:
    """Bytes that can be taken without paging, within the limits of a control group; or None."""
    if sys.platform == "win32":
        return _windows_status("ullAvailPhys")
    found = [
        size
        for size in (_number_in("/proc/meminfo", "MemAvailable:"), _cgroup_room())
        if size is not None
    ]
    if found:
        return min(found)
    with contextlib.suppress(ValueError, OSError):  # macOS tells only how much there is in all
        return int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")) // 2
    return None


def _number_in(path: str, name: str) -> int | None:
    """Bytes that a file of Linux gives in kilobytes after a name."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path(path).read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
    return None


def _cgroup_room(
    mounted: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> int | None:
    """What control groups of Linux (version 2 or 1) leave: this process's, and those around it."""
    rooms = []
    with contextlib.suppress(OSError, ValueError):
        for line in own.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "memory" not in controllers.split(","):
                continue
            folder, *files = _CGROUP_V1 if controllers else _CGROUP_V2
            group = mounted / folder / path.lstrip("/")
            # In a container the path may be that of the machine, and what is mounted its end.
            for place in (group, *group.parents):
                rooms += _room_in(place, *files)
                if place == mounted / folder:
                    break
    return min(rooms, default=None)


def _room_in(group: Path, limit: str, used: str, cache: str) -> list[int]:
    """Bytes left in a group, where files that are cached give way; none where it has no limit."""
    with contextlib.suppress(OSError, ValueError):
        left = int((group / limit).read_text()) - int((group / used).read_text())
        cached = [
            int(line.split()[1])
            for line in (group / "memory.stat").read_text().splitlines()
            if line.split()[0] == cache
        ]
        return [max(0, left + sum(cached))]
    return []


def peak_memory() -> int | None:
    """Bytes of memory that this process held at most, or None where that is not known."""
    if sys.platform == "win32":
        return _windows_peak()
    # Linux counts into the other figure what the process that started this one held.
    own = _number_in("/proc/self/status", "VmHWM:")
    if own is not None:
        return own
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def release_freed() -> None:
    """Give memory that was freed back to the system, where the C library would keep it (glibc)."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)


def map_large_blocks() -> None:
    """Have the system take large blocks back the moment they are freed (glibc), for good.

    The C library would keep them for blocks to come, and as those of compressed tiles are of
    many sizes, what lies free between them grows for minutes. It concerns the whole process,
    so it is for programs, not for a library's calls.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, MEBIBYTE)


def _windows_status(name: str) -> int | None:
    class Status(ctypes.Structure):
        _fields_ = (
            ("dwLength", ctypes.c_ulong),
            ("dwMemoryLoad", ctypes.c_ulong),
            *((name, ctypes.c_ulonglong) for name in (
                "ullTotalPhys", "ullAvailPhys", "ullTotalPageFile", "ullAvailPageFile",
                "ullTotalVirtual", "ullAvailVirtual", "ullAvailExtendedVirtual",
            )),
        )  # fmt: skip

    status = Status(dwLength=ctypes.sizeof(Status))
    windows: Any = ctypes
    if not windows.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
        return None
    return int(getattr(status, name))


def _windows_peak() -> int | None:
    class Counters(ctypes.Structure):
        _fields_ = (
            ("cb", ctypes.c_ulong),
            ("PageFaultCount", ctypes.c_ulong),
            *((name, ctypes.c_size_t) for name in (
                "PeakWorkingSetSize", "WorkingSetSize", "QuotaPeakPagedPoolUsage",
                "QuotaPagedPoolUsage", "QuotaPeakNonPagedPoolUsage", "QuotaNonPagedPoolUsage",
                "PagefileUsage", "PeakPagefileUsage",
            )),
        )  # fmt: skip

    counters = Counters(cb=ctypes.sizeof(Counters))
    windows: Any = ctypes
    process = ctypes.c_void_p(windows.windll.kernel32.GetCurrentProcess())
    if not windows.windll.psapi.GetProcessMemoryInfo(process, ctypes.byref(counters), counters.cb):
        return None
    return int(counters.PeakWorkingSetSize)
