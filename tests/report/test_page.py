from __future__ import annotations

import copy
import html
import json
import re
import shutil
import subprocess
import time
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from fedmed.errors import StoreError
from fedmed.report import write_report
from fedmed.report.page import render
from fedmed.report.record import Report
from tests.report import sample

SAMPLES = {
    "plain": sample.report,
    "troubled": sample.troubled,
    "skin": sample.skin,
    "crowd": sample.crowd,
    "hostile": sample.hostile,
    "sampled": sample.sampled,
    "masked": sample.masked,
    "weaker": lambda: sample.masked("hbc"),
    "one round": lambda: sample.report(rounds=1),
    "nothing": dict,
}


def page(made):
    return render(Report.model_validate(made))


def test_the_page_is_written_beside_its_record_in_less_than_two_seconds(tmp_path: Path):
    folder = sample.write(tmp_path, sample.troubled())
    start = time.perf_counter()
    path = write_report(folder)
    assert time.perf_counter() - start < 2
    assert path == folder / "report.html"
    assert sorted(file.name for file in folder.iterdir()) == ["report.html", "report.json"]


def test_a_page_that_cannot_be_written_is_an_error(tmp_path: Path):
    folder = sample.write(tmp_path, sample.report())
    (folder / "report.html").mkdir()
    with pytest.raises(StoreError, match=r"report\.html: cannot be written"):
        write_report(folder)


@pytest.mark.parametrize("name", SAMPLES)
def test_the_page_holds_nothing_that_loads_runs_or_links(name):
    text = page(SAMPLES[name]())
    tags = set(re.findall(r"<([a-zA-Z]+)", text))
    assert tags.isdisjoint({"script", "link", "img", "image", "iframe", "object", "embed", "a", "use", "form", "base"})
    assert not re.search(r"<[^>]*\s(src|href|style|on\w+)=", text)
    style = resources.files("fedmed.report").joinpath("page.css").read_text()
    assert "url(" not in style
    assert "@import" not in style
    assert "default-src 'none'" in text


def test_what_a_reader_looks_for_is_there():
    text = html.unescape(re.sub(r"<[^>]+>", " ", page(sample.troubled())))
    for words in (
        "Heart disease at four hospitals",
        "va missed rounds 3, 7 (2 of 15)",
        "What did each hospital gain?",
        "no AUC: all cases are of one class (present)",
        "update holds 3 values that are not finite",
        "no answer by the deadline of 60 s",
        "Round 7 needed more than one attempt",
        "Validation without va in round 3: no answer by the deadline of 60 s.",
        "Evaluated by the simulation's harness, which sees every site.",
        "learning_rate: 0.02",
        "9f2c" * 16,
        "41ab" * 16,
        "torch 2.13.0",
    ):
        assert words in " ".join(text.split()), words


def test_the_gain_is_that_of_the_record():
    made = sample.report()
    for site, (own, shared) in {"cleveland": (0.80, 0.90), "hungarian": (0.85, 0.86), "va": (0.9, 0.85)}.items():
        made["sites"][site]["local"]["auc"] = {"value": own, "low": own - 0.02, "high": own + 0.02}
        made["sites"][site]["federated"]["auc"] = {"value": shared, "low": shared - 0.02, "high": shared + 0.02}
    made["sites"]["switzerland"]["local"] = None
    text = page(made)
    assert "own model at 2 of 3 sites (median +0.010): from −0.050 at va to +0.100 at cleveland" in html.unescape(text)
    assert (
        "(no comparison at switzerland); the two 95 % intervals are apart at 2 of them (higher at 1, lower at 1)."
        in html.unescape(text)
    )


def test_three_hundred_rounds_of_a_hundred_sites_stay_small():
    assert len(page(sample.crowd())) < 1_000_000


PATHS = st.lists(st.integers(0, 40), min_size=1, max_size=6)
VALUES = st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text(max_size=5) | st.just([]) | st.just({})


@settings(deadline=None)
@given(st.sampled_from(["troubled", "skin", "masked"]), st.lists(st.tuples(PATHS, VALUES), min_size=1, max_size=4))
def test_any_record_is_drawn_or_refused(name, changes):
    made = copy.deepcopy(MADE[name])
    for steps, value in changes:
        replace(made, steps, value)
    try:
        report = Report.model_validate(made)
    except ValidationError:
        return
    assert "</html>" in render(report)


MADE = {name: SAMPLES[name]() for name in ("troubled", "skin", "masked")}


def replace(made, steps, value):
    for number, step in enumerate(steps):
        if not isinstance(made, dict | list) or not made:
            return
        keys = list(made) if isinstance(made, dict) else range(len(made))
        key = keys[step % len(keys)]
        if number == len(steps) - 1:
            made[key] = value
        made = made[key]


def colours(style: str, scheme: str) -> dict[str, str]:
    block = style.split("prefers-color-scheme: dark")[scheme == "dark"].split("@media print")[0]
    return dict(re.findall(r"--([a-z0-9]+): (#[0-9a-f]{6});", block.split("\n}")[0]))


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("ink", ["ink", "muted", "fed", "local", "pooled", "mix", "other", "refused", "gone", "warn", "bad"])
def test_text_is_legible_by_day_and_by_night(scheme, ink):
    """WCAG 2.2, success criterion 1.4.3: a contrast of 4.5."""
    found = colours(resources.files("fedmed.report").joinpath("page.css").read_text(), scheme)
    light, dark = sorted((luminance(found["paper"]), luminance(found[ink])), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5


PROBE = """
<body><pre id="result"></pre><script>
addEventListener("load", () => {
  const found = {};
  for (const frame of document.querySelectorAll("iframe")) {
    const page = frame.contentDocument;
    found[frame.name] = {
      overflow: page.documentElement.scrollWidth - page.documentElement.clientWidth,
      active: page.querySelectorAll("script, img, iframe, link, [onerror], [style]").length,
      requests: frame.contentWindow.performance.getEntriesByType("resource").length,
      background: frame.contentWindow.getComputedStyle(page.body).backgroundColor,
      heading: (page.querySelector("h1") || page.body).textContent,
      smallest: Math.min(16, ...[...page.querySelectorAll(".chart text")].map(text =>
        parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a)),
    };
  }
  document.getElementById("result").textContent = JSON.stringify(found);
});
</script>
"""


def browse(folder: Path, pages: dict[str, tuple[str, int]]) -> tuple[dict[str, dict], str]:
    """Open the pages (text, width in px) in frames of one real browser; what it found, and what it complained of."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed")
    frames = [
        f'<iframe name="{name}" width="{width}" height="900" srcdoc="{html.escape(text)}"></iframe>'
        for name, (text, width) in pages.items()
    ]
    (folder / "probe.html").write_text("<!DOCTYPE html>" + PROBE + "".join(frames))
    options = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync "
    options += "--disable-component-update --disable-dev-shm-usage --enable-logging=stderr --dump-dom"
    command = [program, *options.split(), f"--user-data-dir={folder / 'profile'}", f"file://{folder / 'probe.html'}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    result = re.search(r'<pre id="result">(.+?)</pre>', done.stdout, re.DOTALL)
    assert result, done.stderr[-2000:]
    said = "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)
    return json.loads(html.unescape(result[1])), said


def test_a_real_browser_shows_every_page_without_overflow_requests_or_complaint(tmp_path: Path):
    texts = {name: page(make()) for name, make in SAMPLES.items()}
    pages = {f"{name} {width}": (text, width) for name, text in texts.items() for width in (390, 1280)}
    found, said = browse(tmp_path, pages)
    assert said == ""
    for name, seen in found.items():
        assert seen["overflow"] <= 0, name
        assert (seen["active"], seen["requests"]) == (0, 0), name
        assert seen["background"] == "rgb(252, 252, 250)", name  # the style sheet passed the page's own policy
        assert seen["smallest"] >= 10.5, name  # letters of a chart, px
    assert found["hostile 390"]["heading"] == sample.HOSTILE[0] + sample.HOSTILE[2]


def test_the_probe_itself_sees_what_it_looks_for(tmp_path: Path):
    broken = page(sample.report()).replace("<main>", '<main><img src="x.png"><svg width="2000" height="1"></svg>')
    found, said = browse(tmp_path, {"broken": (broken, 390)})
    assert found["broken"]["overflow"] > 1000
    assert found["broken"]["active"] == 1
    assert "Content Security Policy" in said
