"""A command in this process, as `main` runs it: a process of its own would first load Python and the packages anew."""

from __future__ import annotations

import sys
from contextlib import redirect_stderr, redirect_stdout
from io import BytesIO, TextIOWrapper

import pytest

from fedmed.cli import main


def spoken(*arguments: object, columns: int | None = None) -> tuple[int, str, str]:
    """Exit code, standard output, standard error; tables are as wide as said."""
    out, err = (TextIOWrapper(BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with pytest.MonkeyPatch.context() as patched, redirect_stdout(out), redirect_stderr(err):
        for name in ("FEDMED_DATA", "COLUMNS"):
            patched.delenv(name, raising=False)
        if columns is not None:
            patched.setenv("COLUMNS", str(columns))
        patched.setattr(sys, "argv", ["fedmed", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
    told, warned = (each.buffer.getvalue().decode() for each in (out, err))
    return int(ended.value.code or 0), told, warned
