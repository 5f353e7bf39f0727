"""How a worker keeps memory: the C library is told so, and where it cannot be, nothing happens."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from accomplice.serving.deployment.memory import keep_small_blocks

#: Takes and gives back an array of 3 MB over and over; prints the pages that were asked for anew.
FAULTS = """
import resource, sys
import numpy as np
from accomplice.serving.deployment.memory import keep_small_blocks
if sys.argv[1] == "kept":
    keep_small_blocks()
for _ in range(3):
    np.ones(3 * 2**17)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    a, b = np.ones(3 * 2**17), np.ones(3 * 2**17)
    del a, b
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "mallopt") or not sys.platform.startswith("linux"),
    reason="the C library here has no mallopt",
)
def test_blocks_of_a_list_s_size_are_not_asked_for_again_and_again() -> None:
    faults = {
        how: int(subprocess.check_output([sys.executable, "-c", FAULTS, how], text=True))
        for how in ("kept", "as it is")
    }
    assert faults["kept"] < faults["as it is"] / 4


def test_another_c_library_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    keep_small_blocks()
