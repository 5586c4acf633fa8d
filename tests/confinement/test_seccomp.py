from __future__ import annotations

import errno
import os
import re
import signal
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.confinement import seccomp
from fedmed.confinement.numbers import PROCESSORS, Processor
from fedmed.confinement.seccomp import ALLOW, ERRNO, KILL, REFUSED, REFUSED_AMONG_OTHERS, Step, program

PID = 4711
NO, UNKNOWN = ERRNO | errno.EPERM, ERRNO | errno.ENOSYS
BOTH = pytest.mark.parametrize("processor", PROCESSORS.values(), ids=PROCESSORS)
HEADERS = {"x86_64": "/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "aarch64": "/usr/include/asm-generic/unistd.h"}


def verdict(steps: list[Step], audit: int, number: int, *arguments: int) -> int:
    """What the kernel's interpreter of classic BPF makes of a call: bpf(4), linux/seccomp.h."""
    low = dict(enumerate(arguments))
    at, held = 0, 0
    while True:
        code, yes, no, operand = steps[at]
        at += 1
        match code:
            case seccomp.LOAD:
                field = {0: number, 4: audit}
                held = field[operand] if operand < 16 else low.get((operand - 16) // 8, 0) & 0xFFFFFFFF
            case seccomp.AND:
                held &= operand
            case seccomp.RETURN:
                return operand
            case seccomp.EQUAL:
                at += yes if held == operand else no
            case seccomp.AT_LEAST:
                at += yes if held >= operand else no
            case seccomp.HAS_BIT:
                at += yes if held & operand else no


def of(processor: Processor, name: str, *arguments: int, is_apart: bool = True) -> int:
    return verdict(program(processor, PID, is_apart), processor.audit, processor.calls[name], *arguments)


@BOTH
def test_what_is_refused_is_refused(processor):
    for name in {*REFUSED} & {*processor.calls}:
        assert of(processor, name) == of(processor, name, is_apart=False) == NO
    for name in {*REFUSED_AMONG_OTHERS} & {*processor.calls}:
        assert (of(processor, name), of(processor, name, is_apart=False)) == (ALLOW, NO)


def test_every_name_is_known_on_one_processor_at_least():
    known = {name for processor in PROCESSORS.values() for name in processor.calls}
    assert {*REFUSED, *REFUSED_AMONG_OTHERS} <= known


@BOTH
@given(number=st.integers(0, 600))
def test_what_is_not_named_is_allowed(processor, number):
    if number not in processor.calls.values():
        assert verdict(program(processor, PID, False), processor.audit, number) == ALLOW


@BOTH
def test_calls_of_another_kind_end_the_process(processor):
    for audit in (0, 0x40000003, *(other.audit for other in PROCESSORS.values() if other is not processor)):
        assert verdict(program(processor, PID, True), audit, 1) == KILL


def test_the_second_table_of_a_pc_is_closed():
    processor = PROCESSORS["x86_64"]
    assert verdict(program(processor, PID, True), processor.audit, 0x40000000 + 1) == NO


@BOTH
def test_threads_are_made_and_no_processes(processor):
    thread = 0x3D0F00  # what glibc asks for
    assert of(processor, "clone", thread) == ALLOW
    assert of(processor, "clone", signal.SIGCHLD) == NO
    assert of(processor, "clone", 0x4000 | 0x100 | signal.SIGCHLD) == NO  # vfork by another name
    assert of(processor, "clone3") == UNKNOWN


@BOTH
@pytest.mark.parametrize("name", ["kill", "tgkill"])
@given(other=st.integers(0, 2**32 - 1))
def test_signals_reach_itself_alone(processor, name, other):
    assert of(processor, name, PID, signal.SIGABRT) == ALLOW
    assert of(processor, name, other, signal.SIGKILL) == (ALLOW if other == PID else NO)


@BOTH
def test_it_sees_and_sets_no_limits_but_its_own(processor):
    assert [of(processor, "prlimit64", pid) for pid in (0, PID, 1, 2)] == [ALLOW, ALLOW, NO, NO]


@BOTH
def test_it_stays_tied_to_its_owner(processor):
    assert [of(processor, "prctl", option) for option in (1, 4)] == [NO, NO]
    assert [of(processor, "prctl", option) for option in (2, 15, 38)] == [ALLOW] * 3


@BOTH
def test_a_pair_of_sockets_is_of_streams(processor):
    stream, close = socket.SOCK_STREAM, socket.SOCK_CLOEXEC
    assert of(processor, "socketpair", socket.AF_UNIX, stream | close) == ALLOW
    for family, kind in ((socket.AF_INET, stream), (socket.AF_UNIX, socket.SOCK_DGRAM), (socket.AF_UNIX, 5 | close)):
        assert of(processor, "socketpair", family, kind) == NO


@BOTH
def test_jumps_stay_within_what_the_kernel_takes(processor):
    steps = program(processor, PID, False)
    assert len(steps) < 4096
    assert all(0 <= yes < 256 and 0 <= no < 256 for _, yes, no, _ in steps)
    assert steps[-1] == (seccomp.RETURN, 0, 0, ALLOW)


@pytest.mark.parametrize("machine", [name for name, path in HEADERS.items() if Path(path).exists()] or [os.uname().machine])
def test_numbers_are_those_of_the_system(machine):
    text = Path(HEADERS[machine]).read_text() if Path(HEADERS[machine]).exists() else ""
    told = dict(re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", text))
    ours = PROCESSORS[machine].calls
    assert {name: int(told[name]) for name in ours if name in told} == {name: ours[name] for name in ours if name in told}
