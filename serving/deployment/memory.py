"""Tunables of glibc's malloc for a worker.

Predictions for a list of patients make and free dozens of arrays of a few MB. With glibc's defaults
each is mapped and unmapped page by page, which takes a sixth of the time. With these tunables a
worker keeps the memory of its arrays and still returns that of a long answer. glibc reads them from
the environment when a process starts; other C libraries ignore them.
"""

from __future__ import annotations

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
