"""fedmed's own heart recipe: chosen by cross-validation on the 486 training patients, then tested once.

    python benchmarks/heart_selection.py [--json]

Grid: three sets of features x FedAvg or FedAdam x l2 x learning rate x rounds. Score: log-loss of five-fold
cross-validation stratified by label and hospital, repeated five times with other folds and another training seed; the
federation's mean and deviation (from summed n, x and x^2) are made anew from each fold's training rows. Ties go to the
larger AUC. The chosen recipe alone sees the 254 test patients, beside the published central model. Batches, scale,
schedule and seeds are those of `fedmed.learning`, the server's rule is Flower's.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from itertools import pairwise, product
from statistics import mean, stdev

import numpy as np
import torch
from flamby_heart import pooled_models
from form import Row, data_root, make_row, show
from heart_runs import (
    NAMES,
    POOLED_ORDER,
    SEEDS,
    Method,
    Server,
    Servers,
    Site,
    Tables,
    column,
    gradient,
    initial_models,
    labels,
    padded,
    published_features,
    published_tables,
    read_sites,
    with_ones,
)
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import StratifiedKFold
from torch import Tensor

from fedmed.clock import derive_seed, generator

BATCH, FOLDS, RESAMPLES = 16, 5, 10_000
L2, RATES, ROUNDS = (0.002, 0.01, 0.03), (0.02, 0.05), (50, 100)
SERVERS = {"FedAvg": Server(), "FedAdam": Server("adam", 0.03, 0.9, 0.99, tau=1e-3, corrected=True)}


def restored_features(rows: np.ndarray) -> np.ndarray:
    """Eight columns `(n, 8)`: slope 2, 3 and thal 6, 7 one-hot, vessels counted (0 if unknown), three missing flags."""
    slope, vessels, thal = rows[:, 10], rows[:, 11], rows[:, 12]
    flags = [np.isnan(x) for x in (slope, vessels, thal)]
    return np.column_stack([slope == 2, slope == 3, np.nan_to_num(vessels), thal == 6, thal == 7, *flags])


def site_features(site: Site) -> np.ndarray:
    """Which hospital, one-hot: `(n, 4)`."""
    return np.tile([name == site.name for name in NAMES], (len(site.rows), 1))


FEATURE_SETS = ("13", "13+restored", "13+restored+site")


def features_of(site: Site, name: str) -> np.ndarray:
    """One of FEATURE_SETS for all rows of a site `(n, d)` float32."""
    parts = [published_features(site.rows)]
    if "restored" in name:
        parts.append(restored_features(site.rows))
    if "site" in name:
        parts.append(site_features(site))
    return np.column_stack(parts).astype(np.float32)


@dataclass(frozen=True)
class Recipe:
    """One point of the grid."""

    features: str
    rounds: int
    method: Method

    @property
    def name(self) -> str:
        """How the report calls it."""
        return f"{self.features}, {self.method.name}, rounds={self.rounds}"


@dataclass(frozen=True)
class Hospital:
    """One site's raw features `(n, d)` float32 and labels `(n,)`."""

    name: str
    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Run:
    """One federated training: its seed and, per hospital, the rows it trains on."""

    seed: int
    train: list[np.ndarray]


def hospitals(sites: list[Site], features: str, *, test: bool) -> list[Hospital]:
    """The training or the test part of every site."""
    chosen = [(site, site.test if test else ~site.test) for site in sites]
    return [Hospital(site.name, features_of(site, features)[part], labels(site.rows)[part]) for site, part in chosen]


def federated_scale(parts: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and unbiased deviation of all parts together, from sums that each can give away."""
    n = sum(len(x) for x in parts)
    total = np.sum([x.sum(axis=0, dtype=np.float64) for x in parts], axis=0)
    squares = np.sum([np.square(x, dtype=np.float64).sum(axis=0) for x in parts], axis=0)
    variance = np.maximum(squares - total**2 / n, 0) / (n - 1)
    return (total / n).astype(np.float32), (np.sqrt(variance) + 1e-9).astype(np.float32)


def cv_runs(clinics: list[Hospital]) -> list[Run]:
    """FOLDS runs per repeat; repeat r deals the folds anew and trains with seed SEEDS[r]."""
    strata = np.concatenate([clinic.y + 2 * k for k, clinic in enumerate(clinics)])
    ends = np.cumsum([0, *(len(clinic.y) for clinic in clinics)])
    runs = []
    for repeat, seed in enumerate(SEEDS):
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=repeat).split(strata, strata)
        for rows, _ in folds:
            runs.append(Run(seed, [rows[(rows >= low) & (rows < high)] - low for low, high in pairwise(ends)]))
    return runs


def one_epoch(run: Run, site: int, turn: int, steps: int) -> list[list[int]]:
    """Row numbers `(steps, batch)` of one pass over the run's rows of a site, -1 where a batch is short or absent."""
    rng = torch.Generator().manual_seed(derive_seed(run.seed, "train", NAMES[site], turn))
    rows = run.train[site][torch.randperm(len(run.train[site]), generator=rng).numpy()].tolist()
    batches = [padded(rows[i : i + BATCH], BATCH) for i in range(0, len(rows), BATCH)]
    return batches + [padded([], BATCH)] * (steps - len(batches))


def scaled(clinics: list[Hospital], runs: list[Run]) -> list[Tensor]:
    """Per hospital, all its rows in each run's own scale: `(runs, n, d + 1)`."""
    scales = [federated_scale([c.x[rows] for c, rows in zip(clinics, run.train, strict=True)]) for run in runs]
    return [with_ones(torch.from_numpy(np.stack([(c.x - m) / s for m, s in scales]))) for c in clinics]


def train(clinics: list[Hospital], runs: list[Run], methods: tuple[Method, ...], rounds: int) -> Tensor:
    """All runs and methods at once: one local epoch a round, rate falling linearly; models `(runs, methods, d + 1)`."""
    inputs = scaled(clinics, runs)
    seeds = tuple(derive_seed(run.seed, "init") for run in runs)
    models = initial_models(inputs[0].shape[2] - 1, seeds)[:, None].repeat(1, len(methods), 1)
    sizes = torch.tensor([[len(rows) for rows in run.train] for run in runs], dtype=torch.float32)
    rates, servers = column([m.lr for m in methods]), Servers(methods)
    for turn in range(1, rounds + 1):
        delta = torch.zeros_like(models)
        for k, clinic in enumerate(clinics):
            steps = -(-int(sizes[:, k].max()) // BATCH)
            batches = torch.tensor([one_epoch(run, k, turn, steps) for run in runs])
            rate = rates * (1 - (turn - 1) / rounds)
            end = local_epoch(inputs[k], torch.from_numpy(clinic.y), batches, models, methods, rate)
            delta += (end - models) * (sizes[:, k] / sizes.sum(dim=1))[:, None, None]
        models = models + servers.step(delta, turn)
    return models


def local_epoch(x: Tensor, y: Tensor, batches: Tensor, start: Tensor, methods: tuple[Method, ...], rate: Tensor) -> Tensor:
    """Plain SGD at `rate (m, 1)` from `start (r, m, d)` with x `(r, n, d)`, y `(n,)`, batches `(r, steps, batch)`."""
    penalty = 2 * column([m.l2 for m in methods]) * torch.ones(start.shape[2])
    penalty[:, -1] = 0  # the bias is not held small
    models, run = start.clone(), torch.arange(len(x))[:, None]
    for step in range(batches.shape[1]):
        batch = batches[:, step]
        valid = (batch >= 0).float()
        change = gradient(x[run, batch], y[batch], valid, models) + penalty * models
        # a run whose fold has no rows left makes no step, not even towards zero
        models -= rate * change * valid.amax(dim=1)[:, None, None]
    return models


def out_of_fold(clinics: list[Hospital], runs: list[Run], models: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Log-loss and AUC per method `(methods,)`, each the mean over the repeats of all held-out rows together."""
    inputs = scaled(clinics, runs)
    y = np.concatenate([clinic.y for clinic in clinics])
    scores = []
    for repeat in range(len(runs) // FOLDS):
        p = np.full((models.shape[1], len(y)), np.nan)
        for r in range(repeat * FOLDS, (repeat + 1) * FOLDS):
            held = np.concatenate([~np.isin(np.arange(len(c.y)), t) for c, t in zip(clinics, runs[r].train, strict=True)])
            x = torch.cat([x[r] for x in inputs])[torch.from_numpy(held)]
            p[:, held] = torch.sigmoid(models[r] @ x.T).double().numpy()
        scores.append([(log_loss(y, q), roc_auc_score(y, q)) for q in p])
    loss, auc = np.mean(scores, axis=0).T
    return loss, auc


def cross_validate(sites: list[Site]) -> list[tuple[Recipe, float, float]]:
    """Every recipe of the grid with its log-loss and AUC, best first."""
    methods = tuple(
        Method(f"{name}, l2={l2}, lr={lr}", lr, server, l2=l2)
        for (name, server), l2, lr in product(SERVERS.items(), L2, RATES)
    )
    results = []
    for features, rounds in product(FEATURE_SETS, ROUNDS):
        clinics = hospitals(sites, features, test=False)
        runs = cv_runs(clinics)
        loss, auc = out_of_fold(clinics, runs, train(clinics, runs, methods, rounds))
        results += [(Recipe(features, rounds, m), loss[i], auc[i]) for i, m in enumerate(methods)]
    return sorted(results, key=lambda result: (round(result[1], 4), -result[2]))


def test_probabilities(sites: list[Site], recipe: Recipe) -> np.ndarray:
    """The recipe trained on all training rows, on the pooled test `(seeds, 254)` in its published order."""
    clinics, held = (hospitals(sites, recipe.features, test=test) for test in (False, True))
    everything = [np.arange(len(clinic.y)) for clinic in clinics]
    models = train(clinics, [Run(seed, everything) for seed in SEEDS], (recipe.method,), recipe.rounds)[:, 0]
    m, s = federated_scale([clinic.x for clinic in clinics])
    x = with_ones(torch.from_numpy(np.concatenate([(held[k].x - m) / s for k in POOLED_ORDER])))
    return torch.sigmoid(models @ x.T).numpy()


def wins(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Share of seeds in which a sick patient stands above a healthy one `(sick, healthy)`; its mean is the mean AUC."""
    sick, healthy = p[:, y == 1][:, :, None], p[:, y == 0][:, None, :]
    share: np.ndarray = ((sick > healthy) + 0.5 * (sick == healthy)).mean(axis=0)
    return share


def right(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Whether each prediction at .5 is right `(seeds, n)`."""
    hits: np.ndarray = (p > 0.5) == (y == 1)
    return hits


def bootstrap(y: np.ndarray, ours: np.ndarray, theirs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Paired differences in accuracy and AUC `(resamples,)`, patients drawn again, seeds averaged."""
    rng = generator(SEEDS[0], "bootstrap")
    counts = rng.multinomial(len(y), np.full(len(y), 1 / len(y)), RESAMPLES).astype(float)
    accuracy = counts @ (right(y, ours).mean(axis=0) - right(y, theirs).mean(axis=0)) / len(y)
    sick, healthy = counts[:, y == 1], counts[:, y == 0]
    better = wins(y, ours) - wins(y, theirs)
    auc = np.einsum("bi,ij,bj->b", sick, better, healthy, optimize=True)
    return accuracy, auc / (sick.sum(axis=1) * healthy.sum(axis=1))


def test_rows(sites: list[Site], tables: Tables, recipe: Recipe) -> list[Row]:
    """Accuracy and AUC of the recipe and of the published central model, and their difference with its interval."""
    y = tables.pooled_test.y.numpy()
    ours = test_probabilities(sites, recipe)
    theirs = torch.sigmoid(pooled_models(tables) @ tables.pooled_test.x.T).numpy()
    rows, means = [], []
    for label, p, bars in (("chosen", ours, (0.81, 0.89)), ("published pooled", theirs, (None, None))):
        values = (right(y, p).mean(axis=1).tolist(), [float(roc_auc_score(y, q)) for q in p])
        means.append([mean(v) for v in values])
        for measure, v, bar in zip(("accuracy", "AUC"), values, bars, strict=True):
            told = (f">= {bar}", mean(v) >= bar) if bar else ("", None)
            rows.append(make_row(f"test, {label}: {measure}", mean(v), f"(sd {stdev(v):.4f})", *told))
    for measure, got, stretch in zip(("accuracy", "AUC"), means[0], (0.825, 0.905), strict=True):
        rows.append(make_row(f"test, chosen: {measure}, stretch", got, "", f">= {stretch}", got >= stretch))
    for i, (measure, drawn) in enumerate(zip(("accuracy", "AUC"), bootstrap(y, ours, theirs), strict=True)):
        low, high = np.quantile(drawn, (0.025, 0.975))
        unit = f"95 % {low:+.4f} to {high:+.4f}"
        rows.append(make_row(f"test, {measure} over published pooled", means[0][i] - means[1][i], unit))
    return rows


def main() -> None:
    """Read the options, run, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    sites = read_sites(data_root() / "heart")
    grid = cross_validate(sites)
    rows = [make_row(f"cv, {recipe.name}", loss, f"nats, AUC {auc:.4f}") for recipe, loss, auc in grid]
    rows += test_rows(sites, published_tables(sites), grid[0][0])
    show("heart_selection", rows, options.json)


if __name__ == "__main__":
    main()
