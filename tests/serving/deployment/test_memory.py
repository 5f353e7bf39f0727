"""How a worker keeps memory: by glibc's tunables, which another C library ignores."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from accomplice.serving.deployment.memory import TUNABLES, TUNABLES_VARIABLE, give_back

#: Takes and gives back an array of 3 MB over and over; prints the pages that were asked for anew.
FAULTS = """
import resource
import numpy as np
for _ in range(3):
    np.ones(3 * 2**17)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    a, b = np.ones(3 * 2**17), np.ones(3 * 2**17)
    del a, b
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
#: Holds 64 MB in blocks of an array's size and lets them go; prints the MB that are still held.
KEPT = """
import os
import numpy as np
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
before = resident()
held = [np.ones(2**17) for _ in range(64)]
del held
print((resident() - before) // 2**20)
"""

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")


def number_printed(code: str, tunables: str) -> int:
    env = os.environ | {TUNABLES_VARIABLE: tunables}
    return int(subprocess.check_output([sys.executable, "-c", code], env=env, text=True))


def test_blocks_of_a_list_s_size_are_not_asked_for_again_and_again() -> None:
    assert number_printed(FAULTS, TUNABLES) < number_printed(FAULTS, "") / 4


def test_a_setting_of_its_own_does_it_without_huge_pages() -> None:
    without = TUNABLES.replace("hugetlb=1", "hugetlb=0")
    assert without != TUNABLES
    assert number_printed(FAULTS, without) < number_printed(FAULTS, "") / 4


def test_what_a_long_answer_took_is_given_back() -> None:
    assert number_printed(KEPT, TUNABLES) <= 40


def test_free_memory_is_given_back_on_any_system(monkeypatch: pytest.MonkeyPatch) -> None:
    give_back()
    monkeypatch.setattr(sys, "platform", "darwin")
    give_back()
