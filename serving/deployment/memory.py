"""Memory of a worker: tunables of glibc's malloc, and the return of free memory.

Predictions for a list of patients make and free dozens of arrays of a few MB. With glibc's defaults
each is mapped and unmapped page by page, which takes a sixth of the time. With these tunables a
worker keeps the memory of its arrays and still returns that of a long answer. glibc reads them from
the environment when a process starts; other C libraries ignore them.
"""

from __future__ import annotations

import ctypes
import sys

#: Environment variable of glibc's tunables.
TUNABLES_VARIABLE = "GLIBC_TUNABLES"
#: Value of the variable: huge pages where the system offers them (a list takes a tenth less time);
#: at most two arenas; blocks of 4 MiB and more are returned when freed; up to 32 MiB are kept free
#: at the end of an arena.
TUNABLES = ":".join(
    f"glibc.malloc.{name}={value}"
    for name, value in {
        "hugetlb": 1,
        "arena_max": 2,
        "mmap_threshold": 4 * 2**20,
        "trim_threshold": 32 * 2**20,
    }.items()
)


def give_back() -> None:
    """Return free memory to the system where that is Linux with glibc; do nothing elsewhere."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
