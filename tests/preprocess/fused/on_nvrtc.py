"""kernels/*.cu compiled for the cards we name by NVRTC, which needs no GPU and no driver."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest

CARDS = ("sm_75", "sm_80", "sm_87", "sm_90")  # T4, A100, Jetson Orin, H100
CUPYS = ("-ftz=true", "--std=c++11")
"""What CuPy adds on its own, and the oldest language that any of its versions asks for."""
NO_STACK = ("0", "0", "0")


@dataclass(frozen=True)
class Usage:
    """Of each entry: registers, and bytes of stack, spill stores and spill loads."""

    registers: list[int]
    memory: list[tuple[str, str, str]]


def compiler() -> Any:
    """NVRTC, or a skip by name."""
    return pytest.importorskip("cupy.cuda", reason="CuPy is not installed: NVRTC cannot be called").nvrtc


def usage(text: str, name: str, card: str) -> Usage:
    """What the entries of a source use on a card; the test fails with the compiler's log where it does not compile."""
    nvrtc = compiler()
    program = nvrtc.createProgram(text, f"{name}.cu", (), ())
    try:
        nvrtc.compileProgram(program, (f"--gpu-architecture={card}", "--ptxas-options=-v", *CUPYS))
    except nvrtc.NVRTCError:
        pytest.fail(nvrtc.getProgramLog(program))
    log = nvrtc.getProgramLog(program)
    assert len(nvrtc.getCUBIN(program)) > 10_000
    nvrtc.destroyProgram(program)
    used = [int(count) for count in re.findall(r"Used (\d+) registers", log)]
    memory = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", log)
    return Usage(used, memory)
