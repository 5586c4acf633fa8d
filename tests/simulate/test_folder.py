from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fedmed.config.loading import parse
from fedmed.errors import ConfigError, ResumeRefused, StoreError
from fedmed.simulate.folder import RunFolder, free_folder, replace_text
from fedmed.store.commits import Commit

TEXT = """
name: tiny
title: Tiny
rounds: 3
data: {reader: phantom}
task: {name: scan}
training: {learning_rate: 1.0e-05, epochs: 1}
federation: {quorum: {required: [b, a]}}
"""


def scenario(*overrides: str):
    return parse(TEXT, "tiny.yaml", overrides)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "run").mkdir()
    return RunFolder(tmp_path / "run")


def names_in(folder: RunFolder) -> list[str]:
    return sorted(path.name for path in folder.path.iterdir())


def begun(folder: RunFolder, *overrides: str) -> RunFolder:
    """A run whose first round is committed."""
    folder.claim(scenario(*overrides), resume=False)
    folder.commits.write(Commit(1, {}, {}))
    return folder


def test_a_new_folder_keeps_the_scenario_as_it_was_given(folder):
    assert not folder.has_run
    assert folder.claim(scenario(), resume=False) == scenario()
    assert folder.has_run
    assert folder.scenario() == scenario()
    assert names_in(folder) == ["journal.jsonl", "scenario.yaml"]


def test_a_run_is_not_written_over(folder):
    begun(folder)
    with pytest.raises(ConfigError, match="holds a run already; add --resume"):
        folder.claim(scenario(), resume=False)


def test_a_run_is_resumed_with_its_own_scenario(folder):
    begun(folder, "engine.workers=2")
    assert folder.claim(scenario(), resume=True).engine.workers == 2


def test_another_scenario_is_refused_line_by_line(folder):
    begun(folder)
    with pytest.raises(ResumeRefused) as caught:
        folder.claim(scenario("rounds=4", "strategy.name=fedadam", "engine.workers=1"), resume=True)
    lines = [line.strip() for line in str(caught.value).splitlines()]
    for changed in ("rounds: 3 -> 4", 'strategy.name: "fedavg" -> "fedadam"'):
        assert changed in lines
    assert any(line.startswith("engine.workers") for line in lines)
    assert folder.scenario() == scenario()


@pytest.mark.parametrize("name", ["thesis.doc", "scenario.yaml", "run.json", ".git", "model.safetensors"])
def test_a_folder_with_somebody_s_own_files_is_left_alone(folder, name):
    # a scenario.yaml that lies in --out is as likely the one that the user wrote
    (folder.path / name).write_text("mine")
    with pytest.raises(ConfigError, match="not empty and holds no run"):
        folder.claim(scenario(), resume=False)
    assert names_in(folder) == [name]
    assert (folder.path / name).read_text() == "mine"


def test_a_start_that_came_to_nothing_binds_nobody(folder):
    folder.claim(scenario(), resume=False)
    folder.remember("aa", 2)
    assert folder.claim(scenario("rounds=9"), resume=False).rounds == 9
    assert folder.scenario().rounds == 9
    assert folder.remember("bb", 3) == {"data_sha256": "bb", "workers": 3}


def test_a_withdrawn_start_leaves_nothing_and_a_run_everything(folder):
    folder.claim(scenario(), resume=False)
    folder.remember("aa", 2)
    folder.withdraw()
    assert not folder.path.exists()
    folder.path.mkdir()
    begun(folder).withdraw()
    assert names_in(folder) == ["commits", "journal.jsonl", "scenario.yaml"]


def test_what_a_killed_start_left_does_not_lock_the_folder(folder):
    (folder.path / ".scenario.yaml.999999").write_text("name: ti")
    folder.claim(scenario(), resume=False)
    assert folder.has_run


@pytest.mark.parametrize("text", ["", "name: tiny", "{", "\x00"])
def test_a_scenario_damaged_on_the_disk_is_a_config_error(folder, text):
    (begun(folder).path / "scenario.yaml").write_text(text)
    with pytest.raises(ConfigError):
        folder.claim(scenario(), resume=True)


def test_the_first_start_fixes_data_and_workers(folder):
    assert folder.remember("aa", 2) == {"data_sha256": "aa", "workers": 2}
    # resumed on a machine with more cores: the sums keep their order
    assert folder.remember("aa", 16) == {"data_sha256": "aa", "workers": 2}
    with pytest.raises(ResumeRefused, match="SHA-256 aa -> bb"):
        folder.remember("bb", 2)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"workers": 2}', '{"data_sha256": "aa"}'])
def test_a_damaged_note_is_a_store_error(folder, text):
    (folder.path / "run.json").write_text(text)
    with pytest.raises(StoreError, match=r"run\.json is damaged"):
        folder.remember("aa", 2)


def test_a_missing_folder_is_made(tmp_path):
    folder = RunFolder(tmp_path / "a" / "b")
    with folder.held():
        assert folder.path.is_dir()


@pytest.mark.parametrize("kind", ["file", "below a file", "a link to nowhere"])
def test_what_can_be_no_folder_is_a_config_error(tmp_path, kind):
    path = tmp_path / "run"
    if kind == "a link to nowhere":
        path.symlink_to(tmp_path / "gone" / "far")
    else:
        path.touch()
    with (
        pytest.raises(ConfigError, match="cannot be a folder"),
        RunFolder(path / "x" if kind == "below a file" else path).held(),
    ):
        raise AssertionError("must not be reached")


def test_two_runs_do_not_share_a_folder(folder):
    code = (
        "import sys; from pathlib import Path; from fedmed.simulate.folder import RunFolder\n"
        "with RunFolder(Path(sys.argv[1])).held():\n    print('held', flush=True); sys.stdin.read()\n"
    )
    root = Path(__file__).resolve().parents[2]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code, folder.path], cwd=root, text=True, **pipes) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(ConfigError, match="another run is at work in it"), folder.held():
            raise AssertionError("must not be reached")
        other.kill()
    with folder.held():
        pass  # a killed holder holds nothing


def test_what_goes_wrong_inside_passes_through(folder):
    with pytest.raises(BlockingIOError), folder.held():
        raise BlockingIOError
    with folder.held():
        pass


def test_text_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "report.json"
    replace_text(path, "first")

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fail)
        with pytest.raises(OSError, match="No space"):
            replace_text(path, "second")
    assert path.read_text() == "first"
    assert [each.name for each in tmp_path.iterdir()] == ["report.json"]
    replace_text(path, json.dumps({"site": "\udcff"}, ensure_ascii=False))
    assert json.loads(path.read_text()) == {"site": "\udcff"}


def test_a_free_folder_is_one_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert free_folder("demo") == Path("runs/demo")
    Path("runs/demo").mkdir(parents=True)
    Path("runs/demo-2").mkdir()
    assert free_folder("demo") == Path("runs/demo-3")


def test_a_folder_that_may_not_be_written_is_refused_before_anything_runs(folder, monkeypatch):
    asked = []
    monkeypatch.setattr(os, "access", lambda path, mode: asked.append((path, mode)))  # for root may write everywhere
    with pytest.raises(ConfigError, match="cannot be written: no permission; give another one"), folder.held():
        pass
    assert asked == [(folder.path, os.W_OK | os.X_OK)]
    assert not names_in(folder)
