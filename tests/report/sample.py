"""Reports as a run writes them, made from a seed: what the page is tested and looked at with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

METRICS = ("auc", "accuracy", "balanced_accuracy", "sensitivity", "specificity")
HEART = {"cleveland": (173, 26, 104), "hungarian": (149, 23, 89), "switzerland": (26, 4, 16), "va": (73, 12, 45)}
SKIN = {
    "rosendahl": (1400, 150, 400),
    "vidir_modern": (2100, 220, 600),
    "vidir_old": (300, 30, 90),
    "vienna": (2700, 300, 800),
}
LESIONS = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")


def metric(rng: np.random.Generator, value: float, cases: int) -> dict[str, float]:
    value = float(np.clip(value + rng.normal(0, 0.015), 0.3, 0.985))
    half = 1.96 * np.sqrt(value * (1 - value) / cases)
    return {"value": value, "low": max(0.0, value - half), "high": min(1.0, value + half)}


def metrics(rng: np.random.Generator, level: float, cases: int) -> dict[str, Any]:
    drops = (0.0, 0.08, 0.09, 0.12, 0.07)
    return {name: metric(rng, level - drop, cases) for name, drop in zip(METRICS, drops, strict=True)}


def undefined(found: dict[str, Any]) -> dict[str, Any]:
    """As at a site whose cases are all of one class."""
    gone = {name: {"value": None, "low": None, "high": None} for name in ("auc", "balanced_accuracy", "specificity")}
    return found | gone


def absent(found: dict[str, Any], site: str, state: str, reason: str = "") -> None:
    found["joined"].remove(site)
    for part in ("train", "validation"):
        if found[part]:
            found[part]["sites"].pop(site, None)
    if state == "late":
        found["late"].append(site)
    else:
        found[state][site] = reason


def one_round(rng: np.random.Generator, number: int, sites: dict[str, tuple[int, int, int]]) -> dict[str, Any]:
    loss = 0.34 + 0.4 * np.exp(-number / 4)
    auc = 0.89 - 0.3 * np.exp(-number / 3)
    phases = {"train": 0.3, "aggregate": 0.02, "validate": 0.09, "commit": 0.03}
    spent = {phase: float(seconds * rng.uniform(0.8, 1.4)) for phase, seconds in phases.items()}
    skew = {site: 0.08 * ((7 * index) % 5 - 2) / 2 for index, site in enumerate(sites)}

    def noisy(level: float, site: str, sign: float = 1) -> float:
        return float(level + sign * skew[site] + rng.normal(0, 0.01))

    return {
        "round": number,
        "seconds": sum(spent.values()) + 0.01,
        "phases": spent,
        "cohort": list(sites),
        "joined": list(sites),
        "missing": {},
        "refused": {},
        "late": [],
        "attempt": 1,
        "bytes": {"down": 4_100_000 * len(sites), "up": 4_100_000 * len(sites)},
        "train": {
            "loss": float(loss),
            "sites": {site: {"loss": noisy(loss, site), "examples": cases[0]} for site, cases in sites.items()},
        },
        "validation": {
            "loss": float(loss + 0.03),
            "auc": float(auc),
            "sites": {site: {"loss": noisy(loss + 0.03, site), "auc": min(0.99, noisy(auc, site, -1))} for site in sites},
        },
    }


def curve(rng: np.random.Generator, shape: float) -> dict[str, Any]:
    fpr = np.linspace(0, 1, 60)
    bins = np.linspace(0.05, 0.95, 10)
    seen = np.clip(bins + rng.normal(0, 0.05, 10), 0, 1)
    return {
        "roc": [[float(f), float(f**shape)] for f in fpr],
        "calibration": [[float(b), float(s), int(n)] for b, s, n in zip(bins, seen, rng.integers(5, 60, 10), strict=True)],
    }


def report(
    sites: dict[str, tuple[int, int, int]] = HEART,
    classes: tuple[str, ...] = ("absent", "present"),
    rounds: int = 15,
    seed: int = 42,
    title: str = "Heart disease at four hospitals",
) -> dict[str, Any]:
    """A complete run in which every site joined every round."""
    rng = np.random.default_rng(seed)
    made = [one_round(rng, number, sites) for number in range(1, rounds + 1)]
    tests = sum(cases[2] for cases in sites.values())
    results = {
        site: {
            "examples": dict(zip(("train", "validation", "test"), cases, strict=True)),
            "classes": {
                label: max(1, int(cases[2] * share))
                for label, share in zip(classes, rng.dirichlet([4] * len(classes)), strict=True)
            },
            "rounds_joined": rounds,
            "federated": metrics(rng, 0.89, cases[2]),
            "local": metrics(rng, 0.84 + 0.05 * rng.uniform(-1, 1), cases[2]),
            "pooled": metrics(rng, 0.89, cases[2]),
            "mixture": metrics(rng, 0.90, cases[2]),
        }
        for site, cases in sites.items()
    }
    binary = len(classes) == 2
    total = sum(found["seconds"] for found in made)
    return {
        "fedmed": "0.1.0",
        "status": "complete",
        "resumed": [],
        "scenario": {
            "name": "heart",
            "title": title,
            "description": "Logistic regression on the four hospitals of the UCI heart disease set; no row is sent.",
            "seed": seed,
            "rounds": rounds,
            "data": {"reader": "heart", "folder": "heart", "options": {}, "normalise": "federated"},
            "task": {"name": "logistic", "model": None},
            "training": {"optimiser": "sgd", "learning_rate": 0.02, "batch_size": 16, "epochs": 1},
            "strategy": {"name": "fedavg", "options": {}},
            "federation": {"deadline_s": 60.0, "quorum": {"sites": 0.5, "data_weight": 0.5, "required": []}},
        },
        "seed": seed,
        "engine": "inprocess",
        "evaluated_by": "the simulation's harness, which sees every site",
        "privacy": {"secure_aggregation": "off"},
        "chosen": {"choose": "last", "round": rounds, "average_last": 1},
        "rounds": made,
        "overall": {"test_examples": tests, "metrics": metrics(rng, 0.9, tests)},
        "sites": results,
        "baselines": {
            "pooled": metrics(rng, 0.9, tests),
            "local": {site: metrics(rng, 0.82, tests) for site in sites},
        },
        "curves": {"federated": curve(rng, 0.16), "pooled": curve(rng, 0.14), "local": curve(rng, 0.28)} if binary else None,
        "sites_missing": {},
        "bytes": {way: sum(found["bytes"][way] for found in made) for way in ("down", "up")},
        "seconds": {"total": total + 1.4, "phases": {"prepare": 0.6, "federate": total, "compare": 0.8}},
        "model_sha256": "9f2c" * 16,
        "data_sha256": "41ab" * 16,
        "versions": {"fedmed": "0.1.0", "python": "3.11.2", "torch": "2.13.0", "flwr": "1.41.0", "numpy": "2.4.0"},
        "machine": {"cpu": "Xeon 2.8 GHz", "cores": 2, "load": 0.4, "device": "cpu"},
    }


def masked(mode: str = "malicious", error: float = 0.014) -> dict[str, Any]:
    """The center saw sums only, and the AUC within `error`."""
    found = report()
    epoch = {"mode": mode, "epoch": 1, "members": 4, "colluders": 1, "rounds": 39, "least": 3, "without": []}
    found["privacy"] = {
        "secure_aggregation": mode,
        "lanes": 32,
        "bound": 64.0,
        "least": 3,
        "members": 4,
        "epochs": [epoch],
        "left_out": [],
        "unopened": [],
        "accused": [],
        "bytes": {"down": 32_000, "up": 21_000},
    }
    found["evaluated_by"] += ", while the center saw sums only"
    for each in found["rounds"]:
        each["train"] |= {"sites": {}, "cases": 421}
        each["validation"] |= {"sites": {}, "cases": 65, "auc_error": error, "missing": {}}
    return found


def troubled() -> dict[str, Any]:
    """Four sites, fifteen rounds; one site missing twice, one refused, one late, one with a single class; resumed."""
    found = report()
    absent(found["rounds"][2], "va", "missing", "no answer by the deadline of 60 s")
    absent(found["rounds"][6], "va", "missing", "no answer by the deadline of 60 s")
    absent(found["rounds"][8], "switzerland", "refused", "update holds 3 values that are not finite")
    absent(found["rounds"][11], "hungarian", "late")
    found["rounds"][6]["attempt"] = 2
    found["status"] = "complete with missing sites"
    found["sites_missing"] = {"3": ["va"], "7": ["va"], "9": ["switzerland"], "12": ["hungarian"]}
    found["rounds"][2]["validation"]["missing"] = {"va": "no answer by the deadline of 60 s"}
    found["resumed"] = [7]
    lone = found["sites"]["switzerland"]
    lone["classes"] = {"absent": 0, "present": 16}
    for model in ("federated", "local", "pooled", "mixture"):
        lone[model] = undefined(lone[model])
    return found


def skin() -> dict[str, Any]:
    """Seven classes, so that there is no ROC curve; no mixture, no baselines on the pooled test."""
    found = report(SKIN, LESIONS, 25, 7, "Skin lesions of four clinics")
    found["baselines"] = None
    for site in found["sites"].values():
        site["mixture"] = None
    return found


def crowd(sites: int = 100, rounds: int = 300) -> dict[str, Any]:
    """A hundred sites, of which some are missing, late or refused in one round of thirty."""
    names = {f"hospital_{number:03}": (200 + number, 20, 40 + number % 7) for number in range(sites)}
    found = report(names, rounds=rounds, seed=3, title="A hundred hospitals")
    rng = np.random.default_rng(5)
    states = (("missing", "no answer by the deadline of 60 s"), ("late", ""), ("refused", "update norm 81 above 50"))
    for each in found["rounds"]:
        for site in rng.permutation(list(names))[: rng.poisson(sites / 40)]:
            absent(each, str(site), *states[rng.choice(3, p=[0.7, 0.2, 0.1])])
    for site in ("hospital_013", "hospital_057"):
        for each in found["rounds"][120:170]:
            if site in each["joined"]:
                absent(each, site, "missing", "no answer by the deadline of 60 s")
    return found


HOSTILE = (
    "<script>document.title='owned'</script>",
    '"><img src="http://127.0.0.1:9/x.png" onerror=alert(1)>',
    "$title </style>",
)


def aside(what: str, reason: str, sentence: str) -> dict[str, str]:
    return {"what": what, "reason": reason, "sentence": sentence, "study": ""}


def hostile() -> dict[str, Any]:
    """Every text that can come from outside tries to break out of the page."""
    sites = dict(zip((*HOSTILE, "x" * 300), HEART.values(), strict=True))
    found = report(sites, ("absent", HOSTILE[0]), 5, title=HOSTILE[0] + HOSTILE[2])
    absent(found["rounds"][1], HOSTILE[1], "missing", HOSTILE[0])
    found["scenario"]["description"] = HOSTILE[1]
    found["engine"], found["status"], found["fedmed"] = HOSTILE
    found["versions"]["torch"] = found["machine"]["cpu"] = HOSTILE[1]
    found["rounds"][0]["phases"][HOSTILE[0]] = 0.4
    found["privacy"] = masked()["privacy"] | {
        "unopened": [{"round": 2, "purpose": HOSTILE[0], "reason": HOSTILE[1]}],
        "left_out": [{"site": HOSTILE[1], "reason": HOSTILE[2]}],
        "accused": [{"sites": ["x" * 300, HOSTILE[0]]}],
    }
    found["chosen"] = {"choose": "best", "round": 3, "measure": HOSTILE[1], "value": 0.5}
    found["evaluated_by"] = HOSTILE[2]
    found["curves"][HOSTILE[0]] = found["curves"].pop("local")
    found["set_aside"] = {
        HOSTILE[0]: [aside(HOSTILE[1], HOSTILE[2], HOSTILE[0])],
        "x" * 300: [aside("y" * 300, "z" * 300, "w" * 300)],
    }
    found["sites"][HOSTILE[0]]["federated"][HOSTILE[1]] = {"value": None, "low": None, "high": None, "why": HOSTILE[0]}
    return found


def sampled(rounds: int = 8) -> dict[str, Any]:
    """Two of six sites are asked in each round, and all of those asked join."""
    names = {f"site_{number}": (100, 10, 30) for number in range(6)}
    found = report(names, rounds=rounds)
    for number, each in enumerate(found["rounds"]):
        asked = [f"site_{(2 * number + step) % 6}" for step in range(2)]
        each["cohort"] = each["joined"] = asked
    return found


def write(folder: Path, found: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(found))
    return folder
