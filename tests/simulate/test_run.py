"""A whole federation from scenario to report, in real processes and in the caller."""

from __future__ import annotations

import hashlib
import json
import os

import numpy as np
import pytest

from fedmed.errors import ConfigError, DataError, FederationError, StoreError
from fedmed.federation.journal import NAME
from fedmed.learning import scoring
from fedmed.learning.order import ModelSpec
from fedmed.privacy.secagg import questions
from fedmed.privacy.secagg.layout import Layout, Tensor
from fedmed.simulate import folder as folder_module
from fedmed.store.commits import TENSORS, Commits
from fedmed.wire import tensors as wire

SITES = {"north", "south", "west"}
CASES = 28  # of training, at each site
LAYOUTS = (  # of an update's vector, and of an evaluation's, at the sizes that the sites declare
    Layout((Tensor("1.weight", (1, 3)), Tensor("1.bias", (1,))), questions.update_fields(CASES), 32, 3, 64.0, CASES),
    Layout((), scoring.score_fields(ModelSpec(name="logistic", inputs=(3,), classes=2), 4), 32, 3, 64.0, 4),
)
UP = sum(3 * 4 * layout.size for layout in LAYOUTS)
COMPARED = ("rounds=4", "evaluation.baselines=true")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Where the run of two processes and the run in the caller are."""
    folder = tmp_path_factory.mktemp("runs")
    return {"processes": folder / "processes", "caller": folder / "caller"}


@pytest.fixture(scope="module")
def reports(simulated, folders):
    return {
        "processes": simulated(folders["processes"], *COMPARED, "engine.workers=2"),
        "caller": simulated(folders["caller"], *COMPARED, "engine.workers=0"),
    }


@pytest.fixture(params=["processes", "caller"])
def ended(request, reports, folders):
    return reports[request.param], folders[request.param]


def test_the_folder_holds_the_result_and_no_case(ended):
    _, folder = ended
    assert sorted(path.name for path in folder.iterdir()) == [
        "commits",
        "journal.jsonl",
        "ledgers",
        "model.safetensors",
        "report.html",
        "report.json",
        "rounds.csv",
        "run.json",
        "scenario.yaml",
    ]
    assert Commits(folder).rounds() == [2, 3, 4]


def test_the_report_is_what_is_returned_and_plain_json(ended):
    report, folder = ended
    assert json.loads((folder / "report.json").read_text()) == report
    json.dumps(report, allow_nan=False)


def test_the_model_is_the_one_that_the_report_names(ended):
    report, folder = ended
    data = (folder / "model.safetensors").read_bytes()
    assert report["model_sha256"] == hashlib.sha256(data).hexdigest()
    model = wire.view(data)
    assert {name: value.shape for name, value in model.items()} == {"1.weight": (1, 3), "1.bias": (1,)}
    assert all(np.isfinite(value).all() for value in model.values())


def test_the_model_is_the_mean_of_the_last_global_models(simulated, tmp_path):
    report = simulated(tmp_path / "run", "rounds=3", "training.average_last=2", "engine.workers=0")
    commits = Commits(tmp_path / "run")
    two = [commits.read(number).tensors["model/1.weight"].astype(np.float64) for number in (2, 3)]
    final = wire.load(tmp_path / "run" / "model.safetensors")["1.weight"]
    assert final.tolist() == (sum(two) / 2).astype(np.float32).tolist()
    assert report["model_sha256"] == wire.sha256((tmp_path / "run" / "model.safetensors").read_bytes())


@pytest.mark.parametrize("mode", ["off", "malicious"])
def test_the_model_may_be_the_one_of_the_best_validation(simulated, tmp_path, mode):
    settings = ["strategy.options={eta: 5.0}", "training.average_last=1", "engine.workers=0"]
    settings.append(f"privacy.secure_aggregation={mode}")
    report = simulated(tmp_path / "run", *settings, "rounds=6", "evaluation.choose=best")
    values = [record["validation"]["auc"] for record in report["rounds"]]
    best = values.index(max(values)) + 1
    assert best < 6, "another one than the last"
    found = report["chosen"]
    assert (found["choose"], found["measure"], found["round"], found["value"]) == ("best", "auc", best, max(values))
    assert (found["error"] is not None) == (mode == "malicious")
    upto = simulated(tmp_path / "upto", *settings, f"rounds={best}")
    assert report["model_sha256"] == upto["model_sha256"]
    assert upto["chosen"] == {"choose": "last", "round": best, "average_last": 1}


def test_the_report_says_what_the_center_could_learn(simulated, tmp_path):
    off = simulated(tmp_path / "off", "rounds=1", "engine.workers=0", "privacy.secure_aggregation=off")
    assert off["privacy"] == {"secure_aggregation": "off"}
    assert off["evaluated_by"] == "the simulation's harness, which sees every site"
    on = simulated(tmp_path / "on", "rounds=1", "engine.workers=0", "privacy.secure_aggregation=malicious")
    found = on["privacy"]
    assert (found["secure_aggregation"], found["lanes"], found["bound"]) == ("malicious", 32, 64.0)
    assert (found["least"], found["members"], len(found["epochs"])) == (3, 3, 1)
    assert found["unopened"] == found["accused"] == found["left_out"] == []
    assert found["bytes"]["down"] > 0 < found["bytes"]["up"]
    assert on["evaluated_by"].endswith("while the center saw sums only")


def test_every_site_has_its_figures(ended):
    report, _ = ended
    assert set(report["sites"]) == SITES
    for site in report["sites"].values():
        assert site["rounds_joined"] == 4
        assert site["examples"] == {"train": 28, "validation": 4, "test": 8}
        assert sum(site["classes"].values()) == 28
        for model in ("federated", "local", "pooled", "mixture"):
            assert set(site[model]) == {"auc", "accuracy", "balanced_accuracy", "sensitivity", "specificity"}
            for figure in site[model].values():
                assert figure["value"] is None or 0 <= figure["low"] <= figure["value"] <= figure["high"] <= 1
    assert report["overall"]["test_examples"] == 24
    assert set(report["baselines"]["local"]) == SITES
    assert len(report["curves"]["federated"]["roc"]) > 2


def test_the_federation_learns(simulated, tmp_path):
    report = simulated(tmp_path / "run", "rounds=5", "engine.workers=0", "strategy.name=fedavg", "training.average_last=1")
    assert report["overall"]["metrics"]["auc"]["value"] > 0.75
    losses = [record["validation"]["loss"] for record in report["rounds"]]
    assert losses[-1] < losses[0]


def test_every_round_is_recorded(ended):
    report, _ = ended
    assert [record["round"] for record in report["rounds"]] == [1, 2, 3, 4]
    for record in report["rounds"]:
        assert set(record["joined"]) == set(record["cohort"]) == SITES
        assert (record["train"]["cases"], record["train"]["sites"]) == (3 * 28, {}), "told as a sum"
        assert (record["validation"]["cases"], record["validation"]["sites"]) == (3 * 4, {})
        assert 0 <= record["validation"]["auc_error"] < 0.1
        assert record["seconds"] >= sum(record["phases"][name] for name in ("train", "aggregate", "validate")) > 0
        assert record["bytes"] == {"down": 2 * 3 * 16, "up": UP}, "four float32 a site: to train, to validate"
    assert report["bytes"] == {"down": 4 * 96, "up": 4 * UP}
    assert (report["status"], report["sites_missing"], report["resumed"]) == ("complete", {}, [])


def test_the_run_is_described(ended, reports):
    report, _ = ended
    assert report["seed"] == report["scenario"]["seed"] == 42
    assert (report["engine"], report["scenario"]["name"]) == ("inprocess", "tiny")
    assert report["seconds"]["total"] >= sum(report["seconds"]["phases"].values()) * 0.999
    assert set(report["seconds"]["phases"]) == {"prepare", "federate", "compare"}
    assert len({each["data_sha256"] for each in reports.values()}) == 1
    assert report["machine"]["workers"] == report["scenario"]["engine"]["workers"]


def test_processes_and_caller_train_the_same_models(reports):
    # a masked sum is one of whole numbers: its order, and the masks of either run, leave no trace
    assert reports["processes"]["model_sha256"] == reports["caller"]["model_sha256"]
    one, other = (report["sites"]["north"]["local"] for report in reports.values())
    assert one == other


def test_the_same_scenario_and_seed_make_the_same_bits(simulated, tmp_path, reports):
    again = simulated(tmp_path / "again", *COMPARED, "engine.workers=2")
    other = simulated(tmp_path / "other", *COMPARED, "engine.workers=2", "seed=43")
    assert again["model_sha256"] == reports["processes"]["model_sha256"] != other["model_sha256"]
    assert again["baselines"] == reports["processes"]["baselines"]


def test_the_journal_tells_the_run(ended):
    _, folder = ended
    events = [json.loads(line)["event"] for line in (folder / NAME).read_text().splitlines()]
    assert events[:3] == ["preparing", "met", "epoch"]
    assert events.index("survivors") < events.index("start") < events.index("round")
    assert (events.count("epoch"), events.count("survivors")) == (1, 9), "a census, and two a round"
    assert events[-3:] == ["compared", "evaluating", "done"]
    assert (events.count("committed"), events.count("compared")) == (4, 4)


def test_a_finished_run_resumed_says_the_same(simulated, folders, reports):
    again = simulated(folders["processes"], *COMPARED, "engine.workers=2", resume=True)
    before = reports["processes"]
    for part in ("model_sha256", "overall", "sites", "baselines", "curves", "resumed"):
        assert again[part] == before[part]
    assert [record["train"] for record in again["rounds"]] == [record["train"] for record in before["rounds"]]


def test_a_run_resumed_on_a_machine_with_more_cores_keeps_its_workers(simulated, tmp_path, monkeypatch):
    unset = ("rounds=2", "engine.workers=null")
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    before = simulated(tmp_path / "run", *unset)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    again = simulated(tmp_path / "run", *unset, resume=True)
    assert (before["machine"]["workers"], again["machine"]["workers"]) == (2, 2)
    assert again["model_sha256"] == before["model_sha256"]


def test_a_rule_that_holds_all_updates_keeps_them_apart(simulated, tmp_path):
    # sites of one process answer through the same memory, one after the other; of three processes through their own
    def made(workers: int) -> str:
        settings = ("rounds=1", "strategy.name=fedmedian", f"engine.workers={workers}", "privacy.secure_aggregation=off")
        return simulated(tmp_path / str(workers), *settings)["model_sha256"]

    assert made(0) == made(1) == made(3)


def test_a_last_commit_that_is_damaged_is_made_again(simulated, tmp_path):
    out = tmp_path / "run"
    before = simulated(out, "rounds=2", "engine.workers=0")
    path = out / "commits" / "round-000002" / TENSORS
    path.write_bytes(path.read_bytes()[:-4])
    (out / "model.safetensors").unlink()
    again = simulated(out, "rounds=2", "engine.workers=0", resume=True)
    assert again["model_sha256"] == before["model_sha256"] == wire.sha256((out / "model.safetensors").read_bytes())
    assert again["resumed"] == [1]


@pytest.mark.parametrize(
    ("csv", "said"),
    [
        ("a,b,c,site,label\n", "holds no cases"),
        ("a,b,c,site,label\n" + "1,2,3,north,ill\n" * 9, "the one label 'ill'"),
        ("a,b,c,site,label\n" + "1,2,3,north,ill\n1,x,3,north,well\n", "line 3: column 'b' is 'x'"),
        ("a,b,c,site,label\n" + "1,2,nan,north,ill\n1,2,3,north,well\n", "line 2: column 'c' is missing"),
        ("a,b,c,site,label\n" + "1,2,3,north,ill\n1,2,3,North,well\n", "'north' and 'North'"),
    ],
)
def test_data_that_cannot_be_used_are_named_before_anything_is_trained(simulated, tmp_path, csv, said):
    (tmp_path / "cases.csv").write_text(csv)
    with pytest.raises(DataError, match=said):
        simulated(tmp_path / "run", data=tmp_path)
    assert not (tmp_path / "run").exists()


def test_a_start_that_fails_takes_nothing_of_the_user_s(simulated, tmp_path):
    mine = ("scenario.yaml", "run.json", "notes")
    for name in mine:
        (tmp_path / name).write_text("mine")
    (tmp_path / "cases.csv").write_text("a,b,c,site,label\n")
    with pytest.raises(ConfigError, match="not empty and holds no run"):
        simulated(tmp_path, data=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["cases.csv", *mine])
    assert {(tmp_path / name).read_text() for name in mine} == {"mine"}


def test_missing_data_say_where_they_should_be(simulated, tmp_path):
    with pytest.raises(DataError, match="--data DIR"):
        simulated(tmp_path / "run", data=tmp_path / "nowhere")


def test_a_site_whose_cases_are_of_one_class_takes_part(simulated, inputs, tmp_path):
    lines = (inputs / "cases.csv").read_text().replace(",west,ill", ",west,well")
    (tmp_path / "cases.csv").write_text(lines)
    report = simulated(tmp_path / "run", "rounds=2", "engine.workers=0", data=tmp_path)
    west = report["sites"]["west"]
    assert west["rounds_joined"] == 2
    assert west["classes"] == {"ill": 0, "well": 28}
    assert west["federated"]["auc"]["value"] is None
    assert report["overall"]["metrics"]["auc"]["value"] is not None


def test_the_overall_figures_are_of_all_test_cases_pooled(reports):
    report = reports["processes"]
    shares = [(site["examples"]["test"], site["federated"]["accuracy"]["value"]) for site in report["sites"].values()]
    pooled = sum(count * value for count, value in shares) / sum(count for count, _ in shares)
    assert report["overall"]["metrics"]["accuracy"]["value"] == pytest.approx(pooled)


def test_a_federated_scale_travels_with_the_model(simulated, tmp_path):
    simulated(tmp_path / "run", "rounds=1", "engine.workers=0", "data.normalise=federated")
    model = wire.load(tmp_path / "run" / "model.safetensors")
    assert model["preparation.mean"].shape == model["preparation.std"].shape == (3,)


def test_own_first_weights_are_taken_and_wrong_ones_refused(simulated, tmp_path):
    mine = {"1.weight": np.full((1, 3), 0.25, np.float32), "1.bias": np.zeros(1, np.float32)}
    wire.save(mine, tmp_path / "init.safetensors")
    rate = "training.learning_rate=1e-30"
    given = (f"task.init={tmp_path / 'init.safetensors'}", "rounds=1", "engine.workers=0", "strategy.name=fedavg", rate)
    simulated(tmp_path / "run", *given)
    assert wire.load(tmp_path / "run" / "model.safetensors")["1.weight"].tolist() == [[0.25, 0.25, 0.25]]
    wire.save({"1.weight": np.zeros((1, 4), np.float32)}, tmp_path / "init.safetensors")
    with pytest.raises(ConfigError, match=r"1\.bias: got None, allowed \(1,\)"):
        simulated(tmp_path / "refused", *given)


def test_a_run_at_work_keeps_others_out(simulated, tmp_path):
    out = tmp_path / "run"
    with folder_module.RunFolder(out).held(), pytest.raises(ConfigError, match="another run is at work"):
        simulated(out, "rounds=1", "engine.workers=0")


def test_a_baseline_that_cannot_be_trained_is_named(simulated, tmp_path, monkeypatch):
    monkeypatch.setattr("fedmed.simulate.run.baselines.train_one", fail_south)
    with pytest.raises(FederationError, match="the model of south to compare with could not be trained: no luck"):
        simulated(tmp_path / "run", "rounds=1", "engine.workers=1", "evaluation.baselines=true")
    assert Commits(tmp_path / "run").rounds() == [1]


def fail_south(job):
    return "no luck" if job.name == "south" else None


def test_a_full_disk_is_a_store_error_with_the_run_intact(simulated, tmp_path, monkeypatch):
    def full(path, text):
        raise OSError(28, "No space left on device", str(path))

    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr("fedmed.simulate.run.replace_text", full)
        with pytest.raises(StoreError, match=r"No space left on device.*--resume"):
            simulated(out, "rounds=1", "engine.workers=0")
    assert not (out / "report.json").exists()
    assert not (out / "sites").exists()
    assert simulated(out, "rounds=1", "engine.workers=0", resume=True)["status"] == "complete"


def test_sites_may_be_called_as_hospitals_are(simulated, inputs, tmp_path):
    (tmp_path / "cases.csv").write_text((inputs / "cases.csv").read_text().replace(",west,", ",Zürich (Triemli),"))
    report = simulated(tmp_path / "run", "rounds=1", "engine.workers=0", data=tmp_path)
    assert set(report["sites"]) == {"north", "south", "Zürich (Triemli)"}
    assert report["status"] == "complete"
