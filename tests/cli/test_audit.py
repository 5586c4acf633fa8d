from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.identity.logs import CENTER, CLINICS, signed
from tests.store.audit.logs import happened, log_in

LOG = CENTER.fingerprint.hex()


@pytest.fixture
def log(tmp_path):
    """Seven entries in three segments, and one that no head covers."""
    made = log_in(tmp_path / "log", 7, most=3)
    (tmp_path / "head.json").write_text(json.dumps(made.head().as_json()))
    made.append(happened(7))
    return made


def test_a_log_is_verified_and_compared_with_a_head_from_elsewhere(said, log, tmp_path):
    code, out, err = said("audit", "verify", log.folder)
    assert (code, err) == (0, "")
    assert out.startswith("8 entries, all as written\nnewest head: 7 entries, root ")
    assert "newer than that: 1\n" in out
    assert "no head from elsewhere was compared" in out
    assert f"signed by center, {LOG}; compare the six words" in out
    code, out, _ = said("audit", "verify", log.folder, "--head", tmp_path / "head.json", "--log", LOG, "--json")
    told = json.loads(out)
    assert (code, told["status"], told["size"], told["heads"], told["log"]) == (0, "ok", 8, 1, LOG)


def test_damage_and_strange_keys_end_with_the_code_of_the_store(said, log, tmp_path):
    code, _, err = said("audit", "verify", log.folder, "--log", CLINICS[0].fingerprint.hex())
    assert (code, err.count("its keys were exchanged")) == (5, 1)
    other = log_in(tmp_path / "other", 8)
    other.append(happened(1))
    (tmp_path / "fork.json").write_text(json.dumps(signed(other.head()).as_json()))
    code, _, err = said("audit", "verify", log.folder, "--head", tmp_path / "fork.json")
    assert (code, err.count("9 entries")) == (5, 1)
    path = log.folder / "events-000000000003.jsonl"
    path.write_bytes(path.read_bytes().replace(b"north", b"south", 1))
    code, out, err = said("audit", "verify", log.folder, "--json")
    assert (code, out) == (5, "")
    assert "events-000000000003.jsonl, line 2: it does not follow the line above" in err


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (("verify", "nowhere"), 3, "holds no audit log"),
        (("verify", "LOG", "--log", "xyz"), 2, "allowed are 64 hexadecimal digits"),
        (("verify", "LOG", "--head", "nowhere"), 3, "is not there"),
        (("prove", "LOG", "7"), 5, "is under no signed head, which covers those below 7"),
        (("prove", "LOG", "3", "--against", "3"), 5, "allowed are 4 to 7"),
        (("prove", "LOG", "3", "--out", "none/p"), 5, "cannot be written"),
        (("check-proof", "nowhere"), 3, "is not there"),
        (("check-proof", "LOG/head.json"), 5, "is no proof of ours"),
        (("export", "LOG", "--to", "x.xlsx"), 2, "allowed are .jsonl and .csv"),
        (("export", "LOG", "--to", "x.csv", "--from", "soon"), 2, "allowed is a day or a time"),
        (("export", "LOG", "--to", "x.csv", "--from", "2099-01-01"), 3, "no event in that time"),
        (("prune", "LOG", "--who", "ada", "--years", "0.4"), 2, "0.5 (six months) and more"),
        (("show", "nowhere"), 3, "holds no audit log"),
    ],
)
def test_every_refusal_says_what_to_do_and_has_its_code(said, log, tmp_path, monkeypatch, arguments, code, word):
    monkeypatch.chdir(tmp_path)
    found, out, err = said("audit", *(each.replace("LOG", "log") for each in arguments))
    assert (found, out) == (code, "")
    assert err.startswith("fedmed: ")
    assert word in err


def test_a_proof_is_written_and_checked_elsewhere(said, log, tmp_path):
    proof = tmp_path / "p.json"
    code, out, _ = said("audit", "prove", log.folder, 3, "--against", 5, "--out", proof, "--json")
    assert (code, json.loads(out)["size"]) == (0, 5)
    code, out, _ = said("audit", "check-proof", proof, "--log", LOG)
    assert code == 0
    assert out.startswith("proved: entry 3 of 5, root ")
    assert "reason: the quorum is below 3" in out
    told = json.loads(said("audit", "check-proof", proof, "--json")[1])
    assert (told["index"], told["event"]["round"], told["head"]["size"]) == (3, 3, 7)
    proof.write_text(proof.read_text().replace("thorax", "abdomen"))
    assert said("audit", "check-proof", proof)[0] == 5


def test_entries_are_exported_and_shown(said, log, tmp_path):
    to = tmp_path / "out.csv"
    code, out, _ = said("audit", "export", log.folder, "--to", to, "--from", "2026-09-21", "--until", "2099-01-01", "--json")
    told = json.loads(out)
    assert (code, told["events"], told["unproved"], len(told["proofs"])) == (0, 8, 1, 2)
    assert said("audit", "check-proof", told["proofs"][1])[0] == 0
    assert "not proved" in said("audit", "export", log.folder, "--to", to)[1]
    shown = said("audit", "show", log.folder, "--last", 2)[1].splitlines()
    assert shown[0].split()[:4] == ["entry", "when", "who", "role"]
    assert [line.split()[0] for line in shown[1:]] == ["6", "7"]
    told = json.loads(said("audit", "show", log.folder, "--json")[1])
    assert (told["size"], [each["index"] for each in told["events"]]) == (8, list(range(8)))
    log_in(tmp_path / "empty")
    assert said("audit", "show", tmp_path / "empty")[1] == "nothing has happened yet\n"


def test_segments_are_archived_verified_alone_and_kept_until_retention_is_over(said, log, tmp_path):
    vault = tmp_path / "vault"
    code, out, _ = said("audit", "archive", log.folder, "--to", vault, "--json")
    first, second = json.loads(out)["archived"]
    assert code == 0
    assert "no closed segment" in said("audit", "archive", log.folder, "--to", vault)[1]
    assert said("audit", "verify", second, "--log", LOG)[1].startswith("6 entries, all as written\nthose before entry 3")
    assert said("audit", "verify", first, "--head", tmp_path / "head.json")[0] == 2
    assert said("audit", "verify", log.folder)[0] == 5
    assert said("audit", "verify", log.folder, "--archive", vault)[0] == 0
    code, out, _ = said("audit", "prune", log.folder, "--who", "ada", "--archive", vault)
    assert (code, out) == (0, "0 segments taken away; events-000000000000.jsonl is not 7 years old\n")


def test_help_loads_nothing_heavy():
    told = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "fedmed", "audit", "--help"], capture_output=True, text=True, check=True
    )
    loaded = {line.rpartition("|")[2].strip() for line in told.stderr.splitlines()}
    assert "fedmed.cli.audit" in loaded
    assert not loaded & {"fedmed.cli.auditing", "fedmed.store.chain", "cryptography", "numpy", "torch"}
