"""What a choice of a precision holds for: this processor, these cards, these engines."""

from __future__ import annotations

import platform
from contextlib import suppress
from functools import cache
from pathlib import Path

from fedmed.config.edge import Inference
from fedmed.edge.ladder.climb import Key
from fedmed.serving.engines import table

_NAMES = ("model name", "Model", "CPU part")
"""Of /proc/cpuinfo: on x86, on boards of ARM, on any other ARM."""


def key_of(package: str, wanted: Inference, labels: str) -> Key:
    """Of the package with this digest."""
    engines = f"{table.versions()}; {wanted.backend}, {wanted.threads} threads"
    return Key(package, engines, machine(), labels)


@cache
def machine(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Architecture and processor, and which back ends run here: a card that comes or goes is another machine."""
    able = [name for name in table.TABLE if table.module(name).is_available()]
    return f"{platform.machine()}, {_processor(cpuinfo)}, {' '.join(able)}"


def _processor(cpuinfo: Path) -> str:
    with suppress(OSError, ValueError):
        lines = dict(line.split(":", 1) for line in reversed(cpuinfo.read_text().splitlines()) if ":" in line)
        told = {name.strip(): value.strip() for name, value in lines.items()}
        return next((told[name] for name in _NAMES if name in told), "unknown")
    return "unknown"
