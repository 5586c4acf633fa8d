"""Questions on a terminal: asked again until the answer will do; and a line there that is written over while one waits."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import typer

from fedmed.errors import ConfigError, DataError, StoreError
from fedmed.wire.visible import visible

Answer = TypeVar("Answer")
MOST_PASSPHRASE = 1024


def say(text: str) -> None:
    """A line beside the questions; whatever somebody else wrote in it steers no terminal."""
    typer.echo("\n".join(map(visible, text.split("\n"))), err=True)


def line(question: str, default: str | None = None, empty: bool = False) -> str:
    """What is typed; `empty`: Enter alone is an answer, too."""
    return str(typer.prompt(question, default="" if empty else default, show_default=not empty, err=True)).strip()


def yes(question: str) -> bool:
    """Enter alone is no."""
    return bool(typer.confirm(question, err=True))


def until_it_will_do(ask: Callable[[], Answer]) -> Answer:
    """The first answer that is not refused; what was wrong with those before is said."""
    while True:
        try:
            return ask()
        except (ConfigError, DataError, StoreError) as error:
            say(f"{error}")


def passphrase(file: Path | None, question: str, new: bool = False) -> str:
    """From a file, or typed unseen, twice where it is `new`. Raises ConfigError for a file that has none."""
    if file is None:
        return str(typer.prompt(question, hide_input=True, confirmation_prompt=new, err=True))
    try:
        with file.open("rb") as opened:
            return opened.read(MOST_PASSPHRASE).decode().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: no passphrase can be read there ({type(error).__name__})") from error


class Line:
    """How something stands, on standard error: written over on a terminal, a line for each other `kind` elsewhere."""

    def __init__(self) -> None:
        self._kind: object = None
        self._open = False

    def show(self, text: str, kind: object) -> None:
        """Say how it stands now."""
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[K{visible(text)}")
            self._open = True
        elif kind != self._kind:
            sys.stderr.write(f"{visible(text)}\n")
        sys.stderr.flush()
        self._kind = kind

    def end(self) -> None:
        """Begin a new line where one was being written over."""
        sys.stderr.write("\n" * self._open)
        self._open = False
