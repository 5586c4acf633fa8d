"""kernels/*.cu compiled by g++, so that a machine without a GPU runs the very sources that a GPU will run."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest

from fedmed.config.catalogue import shipped

HERE = Path(__file__).parent
CHECKED = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")
"""Options under which a read or write outside an array, or an overflow, ends the process."""


class Launch(Protocol):
    """A kernel's call, whichever room makes it."""

    entry: str
    blocks: int
    inputs: tuple[Any, ...]
    scalars: tuple[np.generic, ...]


def entries(name: str) -> list[str]:
    """Names of the `__global__` functions of one source, after the preprocessor has spelled out the macros."""
    command = ["g++", "-E", "-P", "-D__CUDACC_RTC__", "-x", "c++", str(shipped("kernels") / f"{name}.cu")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return re.findall(r"__launch_bounds__\([\d, ]+\)\s+(\w+)\(", done.stdout)


def need_compiler() -> None:
    """Skip, by name, where there is no g++."""
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed: the CUDA sources cannot be run on the host")


def build(name: str, folder: Path, options: Sequence[str] = ()) -> Path:
    """One source as a shared library with a `walk_ENTRY` for each kernel."""
    lines = [f'#include "{name}.cu"', 'extern "C" {']
    lines += [f"void* walk_{entry}() {{ return (void*)&Walker<&{entry}>::run; }}" for entry in entries(name)]
    driver, built = folder / f"{name}.cpp", folder / f"{name}.so"
    driver.write_text("\n".join([*lines, "}"]))
    include = [f"-I{shipped('kernels')}", f"-I{HERE}"]
    command = ["g++", "-std=c++17", "-O1", "-ffp-contract=off", "-shared", "-fPIC", *options, *include]
    subprocess.run([*command, str(driver), "-o", str(built)], check=True)
    return built


def run(library: ctypes.CDLL, call: Launch, out: np.ndarray, blocks: int | None = None, backwards: bool = False) -> None:
    """Walk the kernel over its grid, or over fewer blocks, or from the last thread to the first, writing into `out`."""
    find = getattr(library, f"walk_{call.entry}")
    find.restype = ctypes.c_void_p
    arrays = [np.ascontiguousarray(array) for array in call.inputs]
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in (*arrays, out)]
    scalars = [np.ctypeslib.as_ctypes_type(value.dtype)(value.item()) for value in call.scalars]
    walk = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_int, *map(type, pointers), *map(type, scalars))(find())
    walk(call.blocks if blocks is None else blocks, int(backwards), *pointers, *scalars)


def checked(script: str, *libraries: Path) -> subprocess.CompletedProcess[str]:
    """A Python script run on libraries that were built with CHECKED, whose paths are its arguments."""
    runtime = [
        subprocess.run(["g++", f"-print-file-name=lib{name}.so"], capture_output=True, text=True, check=True).stdout.strip()
        for name in ("asan", "ubsan")
    ]
    if not all(Path(path).is_absolute() for path in runtime):
        pytest.skip("g++ has no sanitisers: libasan.so and libubsan.so are not installed")
    environment = {**os.environ, "LD_PRELOAD": " ".join(runtime), "ASAN_OPTIONS": "detect_leaks=0", "PYTHONMALLOC": "malloc"}
    command = [sys.executable, "-c", script, *map(str, libraries)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=200)
