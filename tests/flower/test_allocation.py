from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import resource, sys
import numpy as np
from fedmed.flower.allocation import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.empty(4_000_000, np.float32).fill(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if sys.argv[1] == "kept":
    assert keep_freed_memory()
faults()
print(faults())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's mallopt")
def test_what_was_freed_is_used_again_without_page_faults():
    given, kept = (
        int(subprocess.run([sys.executable, "-c", CODE, how], capture_output=True, text=True, check=True).stdout)
        for how in ("given back", "kept")
    )
    assert kept < 50
    assert given > 5 * kept  # few where the system has huge pages


THREADS = """
import sys, threading
import numpy as np
from fedmed.flower.allocation import keep_freed_memory

def used_mb():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1000

if sys.argv[1] == "kept":
    assert keep_freed_memory()
else:  # as it would be without the last of the three
    import ctypes
    for what in (-1, -3):
        ctypes.CDLL(None).mallopt(what, 2**31 - 1)
before, turn = used_mb(), threading.Lock()
ready = threading.Barrier(8)

def work():
    ready.wait()
    with turn:
        np.empty(4_000_000, np.float32).fill(1)
    ready.wait()

threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(used_mb() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's mallopt")
def test_what_one_thread_freed_another_uses():
    each, once = (
        float(subprocess.run([sys.executable, "-c", THREADS, how], capture_output=True, text=True, check=True).stdout)
        for how in ("one for each", "kept")
    )
    assert once < 40  # 16 MB, and what threads take
    assert each > 2 * once
