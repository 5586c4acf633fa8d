from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from fedmed.config.allowed import schema
from fedmed.config.loading import load, parse
from fedmed.config.scenario import Scenario
from fedmed.errors import ConfigError


def test_a_valid_file_becomes_a_scenario(valid):
    scenario = parse(valid, "f.yaml")
    assert scenario.training.learning_rate == 0.001
    assert scenario.data.partition.alpha == 1.0
    assert scenario.federation.quorum.required == ("cleveland", "va")
    assert scenario.data.options == {"columns": ["age", "no", 0.001]}


def test_every_fault_is_reported_at_once_with_line_found_and_allowed(valid, faults):
    text = valid.replace("rounds: 15", "rounds: 0").replace("learning_rate: 1e-3", "learning_rate: -1")
    text = text.replace("optimiser: sgd", "optimiser: adm").replace("reader: csv", "reader: 7")
    text = text.replace("  epochs: 1\n", "  epochs: many\n  learnin_rate: 2\n").replace("title: Four hospitals\n", "")
    found = faults(text)
    assert found == [
        "f.yaml:1: title: missing, allowed: text of at most 200 characters",
        "f.yaml:2: rounds: got 0, allowed: a whole number at least 1 and at most 100000",
        "f.yaml:4: data.reader: got 7, allowed: text like ^[a-z0-9][a-z0-9_.-]{0,63}$",
        'f.yaml:12: training.optimiser: got "adm", allowed: one of sgd, adam, adamw (did you mean adam?)',
        "f.yaml:13: training.learning_rate: got -1, allowed: a number greater than 0 and at most 100",
        'f.yaml:14: training.epochs: got "many", allowed: a whole number at least 1 and at most 1000, or null',
        found[6],
    ]
    assert found[6].startswith(
        "f.yaml:15: training.learnin_rate: unknown key (did you mean learning_rate?), allowed here: optimiser, "
    )


def test_the_final_model_is_the_best_one_or_a_mean_and_not_both(valid, faults):
    text = valid.replace("epochs: 1", "epochs: 1\n  average_last: 5") + "evaluation: {choose: best}\n"
    (said,) = faults(text)
    assert "evaluation.choose is best and training.average_last 5" in said
    assert "allowed: choose last, or average_last 1" in said
    assert parse(text.replace("best", "last"), "f.yaml").training.average_last == 5
    assert parse(text.replace("average_last: 5", "average_last: 1"), "f.yaml").evaluation.choose == "best"


def test_a_fault_inside_a_list_names_the_line_of_the_item(valid, faults):
    assert faults(valid.replace("- va", "- 3")) == [
        "f.yaml:20: federation.quorum.required.1: got 3, allowed: text",
    ]


def test_a_fault_between_keys_names_the_section(valid, faults):
    assert faults(valid.replace("epochs: 1", "momentum: 0")) == ["f.yaml:12: training: give exactly one of epochs and steps"]


def test_late_updates_are_added_or_dropped(valid, faults):
    assert parse(valid + "  late: drop\n", "f.yaml").federation.late == "drop"
    (fault,) = faults(valid + "  late: keep\n")
    assert fault == 'f.yaml:21: federation.late: got "keep", allowed: one of add, drop'


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("seed: 1\nseed: 2", "f.yaml:22: seed: written twice, first at f.yaml:21; keep one"),
        ("engine: *a", "f.yaml:21: engine: got the alias *a; write the value out"),
        (
            'engine: !!python/object/apply:f ["true"]',
            "f.yaml:21: engine: got the tag tag:yaml.org,2002:python/object/apply:f; write the value without it",
        ),
        ("evaluation: {threshold: .nan}", "f.yaml:21: evaluation.threshold: got .nan, allowed: finite numbers"),
        ("seed: 1e999", "f.yaml:21: seed: got 1e999, allowed: finite numbers"),
        ("seed: " + "9" * 5000, "f.yaml:21: seed: got a number of 5000 characters, allowed: at most 40"),
        ('description: "\\ud800"', "f.yaml:21: description: got half a surrogate pair, allowed: text"),
        ("? [a]\n: b", "f.yaml:21: got a list or section as a key, allowed: text"),
        ("--- \nname: b", "f.yaml:22: got a second document (after `---`), allowed: one per file"),
        ("seed: [1", "f.yaml:22: not valid YAML: expected ',' or ']', but got '<stream end>'"),
        ("seed: \x00", "f.yaml:21: not text: special characters are not allowed"),
        ("data_: " + "[" * 50 + "]" * 50, "f.yaml:21: nested deeper than 20 keys"),
    ],
)
def test_yaml_that_is_not_taken(line, expected, valid, faults):
    assert expected in faults(valid + line + "\n")


def test_a_bomb_of_aliases_is_refused_without_being_expanded(faults):
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 60))
    assert any("alias *a58" in fault for fault in faults(bomb))


def test_a_file_too_large_is_refused(tmp_path: Path):
    (tmp_path / "big.yaml").write_text("# é\n" * 200_000)
    with pytest.raises(ConfigError, match="more than 256 KiB"):
        load(tmp_path / "big.yaml")


def test_a_file_that_is_no_text_is_refused_with_its_line(tmp_path: Path):
    (tmp_path / "x.yaml").write_bytes(b"name: a\ntitle: \xff\n")
    with pytest.raises(ConfigError, match=r"x\.yaml:2: not UTF-8 text: byte 0xff"):
        load(tmp_path / "x.yaml")


def test_a_file_that_is_not_there_or_is_a_folder_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="No such file"):
        load(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="Is a directory"):
        load(tmp_path)


@pytest.mark.parametrize("text", ["", "# nothing\n", "null", "3", "[a]"])
def test_a_document_without_keys_is_refused(text, faults):
    assert "a section with the keys name, title" in faults(text)[0]


def test_a_byte_order_mark_and_windows_lines_are_taken(tmp_path: Path, valid):
    (tmp_path / "x.yaml").write_bytes(b"\xef\xbb\xbf" + valid.replace("\n", "\r\n").encode())
    assert load(tmp_path / "x.yaml") == parse(valid, "x")


def test_more_faults_than_anyone_reads_are_counted(valid, faults):
    found = faults(valid + "".join(f"key{i}: 1\n" for i in range(250)))
    assert len(found) == 201
    assert found[-1] == "... and 50 more"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)
PATHS = [(k,) for k in Scenario.model_fields] + [
    (name, key)
    for name, field in Scenario.model_fields.items()
    if hasattr(field.annotation, "model_fields")
    for key in field.annotation.model_fields
]


@given(st.sampled_from(PATHS), VALUES)
def test_any_value_at_any_key_is_taken_or_refused_with_its_key(valid, taken_or_refused, path, value):
    document = yaml.safe_load(valid)
    section = document
    for part in path[:-1]:
        section = section.setdefault(part, {})
    section[path[-1]] = value
    assert path[0] in (taken_or_refused(yaml.safe_dump(document, allow_unicode=True)) or path[0])


@given(st.data())
@example(None)
def test_a_mutated_file_raises_nothing_but_a_config_error(valid, taken_or_refused, data):
    text = '%YAML 1.99999999\n--- "\\U00110000"\n' if data is None else mutate(valid, data)
    assert "f.yaml" in (taken_or_refused(text) or "f.yaml")


def mutate(text, data):
    pieces = st.sampled_from(["\n", " ", "\t", ":", "- ", "&a ", "*a", "!!int ", "{", "[", '"', "'", "|", "%", "<<: ", "é"])
    for _ in range(data.draw(st.integers(1, 6))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 12)))
        text = text[:start] + data.draw(pieces | st.text(max_size=4)) + text[end:]
    return text


def test_a_scenario_written_as_yaml_reads_back_equal(valid):
    scenario = parse(valid, "f.yaml")
    assert parse(yaml.safe_dump(scenario.model_dump(mode="json")), "again") == scenario


def test_the_schema_describes_keys_and_bounds():
    found = schema()
    assert found["additionalProperties"] is False
    training = found["$defs"]["Training"]["properties"]
    assert "FedProx" in training["proximal_mu"]["description"]
    assert training["learning_rate"]["maximum"] == 100
    assert set(found["required"]) == {"name", "title", "rounds", "data", "task", "training"}


def test_numbers_are_the_yaml_that_editors_know(valid):
    scenario = parse(valid + "seed: +7\nengine: {workers: ~}\ndescription: 2024-01-01\n", "f.yaml")
    assert (scenario.seed, scenario.engine.workers, scenario.description) == (7, None, "2024-01-01")
    assert math.isclose(parse(valid.replace("1e-3\n", ".5E1\n", 1), "f").training.learning_rate, 5.0)


def test_reading_a_scenario_does_not_load_torch():
    code = "import sys, fedmed.config.loading; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_patches_are_a_section_of_the_task(valid):
    text = valid.replace("task:\n", "task:\n  patches: {size: [96, 128], foreground: 0}\n")
    patches = parse(text, "f.yaml").task.patches
    assert patches is not None
    assert (patches.size, patches.per_case, patches.foreground, patches.overlap) == ((96, 128), 4, 0.0, 0.5)


@pytest.mark.parametrize(
    ("patches", "why"),
    [
        ("{size: [96]}", "task.patches.size"),
        ("{size: [0, 4]}", "its sides must be positive"),
        ("{size: [100000, 100000]}", "of 134217728 voxels at most"),
        ("{size: [8, 8], overlap: 1}", "task.patches.overlap: got 1"),
        ("{per_case: 3}", "task.patches.size: missing"),
    ],
)
def test_patches_that_cannot_be_are_refused(valid, patches, why):
    with pytest.raises(ConfigError, match=why):
        parse(valid.replace("task:\n", f"task:\n  patches: {patches}\n"), "f.yaml")
