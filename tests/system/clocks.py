"""Processes whose clock is wrong in all of their libraries, OpenSSL's too: Linux gives no process a date of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

AHEAD = "CLOCK_AHEAD_S"
SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static long ahead(void) { const char *said = getenv("CLOCK_AHEAD_S"); return said ? atol(said) : 0; }

int clock_gettime(clockid_t which, struct timespec *at) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int code = real(which, at);
    if (!code && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) at->tv_sec += ahead();
    return code;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *at, void *zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}
"""


def is_possible() -> bool:
    """Whether there is a C compiler."""
    return shutil.which("cc") is not None


def made(folder: Path) -> Path:
    """The library that does it."""
    source, library = folder / "ahead.c", folder / "ahead.so"
    source.write_text(SOURCE)
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True, capture_output=True)
    return library


def environment(library: Path, ahead_s: int) -> dict[str, str]:
    """Of a process whose clock is so many seconds ahead, or behind where negative."""
    return {**os.environ, "LD_PRELOAD": str(library), AHEAD: str(ahead_s)}
