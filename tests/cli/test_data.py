from __future__ import annotations

import json

import click
import pytest
import typer

from fedmed.cli.data import data


def commands(group: click.Command, name: str = "") -> dict[str, click.Command]:
    """Every command below a group, by its words."""
    if not isinstance(group, click.Group):
        return {name: group}
    return {k: v for own, each in group.commands.items() for k, v in commands(each, f"{name} {own}".strip()).items()}


COMMANDS = commands(typer.main.get_command(data))


def test_there_are_commands():
    assert {"scan", "deid", "key", "import", "export", "pack", "quarantine list", "ledger show"} <= COMMANDS.keys()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_speaks_json(name):
    assert "--json" in [option for parameter in COMMANDS[name].params for option in parameter.opts]


def test_a_key_is_made_and_named(said, tmp_path):
    code, out, heard = said("data", "key", tmp_path / "site.key", "--json")
    assert (code, json.loads(out), heard) == (0, {"key": str(tmp_path / "site.key")}, "")
    assert (tmp_path / "site.key").stat().st_mode & 0o777 == 0o600
    code, out, heard = said("data", "key", tmp_path / "site.key", "--json")
    assert (code != 0, out, bool(heard)) == (True, "", True)
    assert "keep a copy" in said("data", "key", tmp_path / "other.key")[1]
