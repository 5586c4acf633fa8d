"""What left a clinic, as a page that whoever answers for its information can print, check and sign."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from math import prod
from pathlib import Path

from fedmed import __version__
from fedmed.report import formats, sendings
from fedmed.report.document import document, write
from fedmed.report.markup import Markup, Value, join, tag
from fedmed.report.sendings import Spent
from fedmed.store.departures import Departure, carried_by
from fedmed.store.ledgers import Clinic
from fedmed.wire.visible import visible

_SHORT = 8  # digits of a digest in a table


def write_page(clinics: Sequence[Clinic], path: Path, unix: float) -> None:
    """Write the page of these clinics, verified at `unix`. Raises StoreError where it cannot be written."""
    write(path, render(clinics, unix))


def render(clinics: Sequence[Clinic], unix: float) -> str:
    """The page as text: one part a clinic, each on paper of its own, with a place for a signature."""
    names = formats.listed([visible(each.name) for each in clinics])
    body = join(*(tag("article", *_parts(each, unix)) for each in clinics))
    return document(f"What left clinic {names}", body, "page.css", "departures.css")


def _parts(clinic: Clinic, unix: float) -> Iterable[Markup]:
    yield _top(clinic)
    yield _privacy(clinic)
    yield _whole(clinic, unix)
    yield _signature()
    yield _layouts(clinic.departures)
    yield _sendings(clinic.departures)
    yield _statements(clinic)
    yield _limits()


def _top(clinic: Clinic) -> Markup:
    sent = clinic.departures
    facts = [
        ("Period", sendings.period(clinic) or formats.DASH),
        ("Data set", _named(each.dataset for each in sent)),
        ("Federation", _named(each.federation for each in sent)),
        ("Runs", _named(each.run for each in sent)),
    ]
    return tag(
        "header",
        tag("p", "fedmed · ledger of a clinic", class_="eyebrow"),
        tag("h1", f"What left clinic {visible(clinic.name)}"),
        tag("dl", *(tag("div", tag("dt", name), tag("dd", text)) for name, text in facts), class_="facts"),
        *(_said(tone, [visible(each) for each in sentences]) for tone, sentences in sendings.verdict(clinic)),
    )


def _said(tone: str, sentences: list[str]) -> Markup:
    first, *rest = sentences
    return tag("p", tag("strong", first), " ", " ".join(rest), class_=f"verdict {tone}")


def _named(names: Iterable[str]) -> str:
    return formats.listed([visible(name) for name in dict.fromkeys(names)]) or formats.DASH


def _privacy(clinic: Clinic) -> Markup:
    found = sendings.spent(clinic.departures)
    if not found:
        return Markup("")
    head = _head("Data set", "Epsilon so far", "Limit", "", "Delta")
    note = "Epsilon bounds what all sendings together can tell of one patient or record; smaller is more private."
    return tag(
        "section",
        tag("h2", "Privacy spent"),
        tag("table", tag("thead", head), tag("tbody", *map(_spent, found)), class_="spent"),
        tag("p", note, class_="note"),
    )


def _spent(spent: Spent) -> Markup:
    limit = formats.DASH if spent.limit is None else f"{spent.limit:.3g}"
    delta = formats.DASH if spent.delta is None else f"{spent.delta:.1g}"
    over = tag("strong", f"{spent.epsilon:.3g}: over the limit") if spent.is_over else f"{spent.epsilon:.3g}"
    return _row(visible(spent.dataset), over, limit, _gauge(spent), delta)


def _gauge(spent: Spent) -> Markup:
    """How much of the limit is spent; nothing where there is none."""
    if not spent.limit:
        return Markup("")
    part = min(1.0, spent.epsilon / spent.limit)
    track = tag("rect", width=120, height=8, class_="track")
    fill = tag("rect", width=120 * part, height=8, class_="over" if spent.is_over else "within")
    label = f"{100 * spent.epsilon / spent.limit:.0f} % of the limit"
    return tag("svg", track, fill, viewBox="0 0 120 8", role="img", aria_label=label)


def _whole(clinic: Clinic, unix: float) -> Markup:
    rows = [_row(visible(each.path.name), f"{each.lines:,}", tag("code", each.head)) for each in clinic.files]
    return tag(
        "section",
        tag("h2", "Is this record whole?"),
        tag(
            "p",
            f"Every line holds the digest of the line before it. On {sendings.when(unix)} UTC all lines were checked: none "
            "was changed, moved or taken out since it was written.",
        ),
        tag("table", tag("thead", _head("Record", "Lines", "Head (SHA-256 of the last line)")), tag("tbody", *rows)),
        tag(
            "p",
            "Who may write these files could have written them anew, whole. So compare the head with a copy kept elsewhere, "
            "such as the last signed copy of this page or a confirmation that the clinic signed during the run.",
            class_="note",
        ),
    )


def _signature() -> Markup:
    lines = [tag("div", tag("dt", name), tag("dd", "")) for name in ("Name", "Role", "Date", "Signature")]
    return tag(
        "section",
        tag("h2", "Signed"),
        tag("p", "I have read this record of what left the clinic in the period above."),
        tag("dl", *lines, class_="lines"),
        class_="sign",
    )


def _layouts(sent: Sequence[Departure]) -> Markup:
    found: dict[tuple[object, ...], list[Departure]] = {}
    for each in sent:
        found.setdefault((each.purpose, each.layout_sha256, each.tensors, each.fields, each.bits), []).append(each)
    if not found:
        return Markup("")
    return tag("section", tag("h2", "What a sending holds"), *map(_layout, found.values()), class_="annex")


def _layout(alike: list[Departure]) -> Markup:
    """Tensors and numbers of one layout, told once for all sendings that have it."""
    one = alike[0]
    parts = [(visible(name), "×".join(map(str, shape)) or "1", prod(shape)) for name, shape in one.tensors]
    parts += [(visible(name), formats.count(count, "number"), count) for name, count in one.fields]
    total = sum(count for *_, count in parts)
    sizes = sorted({each.bytes for each in alike})
    size = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
    told = (
        f"{formats.count(len(alike), 'sending')} of {size} bytes: {total:,} numbers of {one.bits} bits, with what "
        "coding and checks add; layout "
    )
    return tag(
        "div",
        tag("h3", one.purpose.capitalize()),
        tag("p", told, tag("code", one.layout_sha256[:_SHORT]), class_="note"),
        tag("ul", *(tag("li", tag("b", name), " ", tag("span", shape)) for name, shape, _ in parts), class_="parts"),
    )


def _sendings(sent: Sequence[Departure]) -> Markup:
    if not sent:
        return Markup("")
    groups = groupby(sent, lambda each: (each.federation, each.run, each.mode, each.members))
    return tag(
        "section",
        tag("h2", "Every sending"),
        *(_group(list(alike)) for _, alike in groups),
        tag(
            "p",
            "Times are UTC. Number: epoch and round of the protocol. Cohort: clinics asked. Quorum: clinics that must sign. "
            "Sum: clinics in it, at least. Carries: an earlier update, too late for its sum, that is in this one as well. "
            "Norm: length of the update before clipping, noise and masks, known here alone. "
            "Noise: standard deviation that the clinic added to each value. Model and sent: BLAKE3 of the model that was "
            f"received and of the bytes that left, first {_SHORT} digits.",
            class_="note",
        ),
        class_="annex",
    )


def _group(alike: list[Departure]) -> Markup:
    one = alike[0]
    masks = tag("strong", f"no masks (mode {visible(one.mode)})", class_="off") if not one.is_masked else f"masks {one.mode}"
    title = f"Run {visible(one.run)} of federation {visible(one.federation)}, {formats.count(one.members, 'clinic')}, "
    columns = [(name, [_cell(value) for value in values]) for name, values in _columns(alike) if any(values)]
    rows = zip(*(cells for _, cells in columns), strict=True)
    table = tag("table", tag("thead", _head(*(name for name, _ in columns))), tag("tbody", *(_row(*row) for row in rows)))
    return tag("div", tag("h3", title, masks), tag("div", table, class_="scroll", tabindex=0), class_="sent")


def _columns(sent: list[Departure]) -> list[tuple[str, list[str]]]:
    return [
        ("When", [sendings.when(each.unix) for each in sent]),
        ("Round", ["" if each.round is None else str(each.round) for each in sent]),
        ("Number", [f"{each.epoch}.{each.number}" for each in sent]),
        ("Purpose", [each.purpose for each in sent]),
        ("Bytes", [f"{each.bytes:,}" for each in sent]),
        ("Cohort", [str(each.cohort) for each in sent]),
        ("Quorum", [str(each.quorum) if each.is_masked else "" for each in sent]),
        ("Sum", [f"≥ {each.least}" if each.is_masked else "" for each in sent]),
        ("Carries", [carried_by(each, sent) for each in sent]),
        ("Norm", [_number(each.norm) for each in sent]),
        ("Clip", [_number(each.clip) for each in sent]),
        ("Noise", [_number(each.noise) for each in sent]),
        ("Epsilon so far", [_number(each.epsilon) for each in sent]),
        ("Model", [each.model_blake3[:_SHORT] for each in sent]),
        ("Sent", [each.vector_blake3[:_SHORT] for each in sent]),
    ]


def _statements(clinic: Clinic) -> Markup:
    if not clinic.statements:
        return Markup("")
    rows = [
        _row(
            sendings.when(each.unix),
            visible(each.what),
            visible(each.purpose),
            visible(each.approved),
            f"{len(each.statement.encode()):,}",
            tag("code", each.sha256[:_SHORT]),
        )
        for each in clinic.statements
    ]
    head = _head("When", "What", "Purpose", "Approved by", "Bytes", "SHA-256")
    return tag(
        "section",
        tag("h2", "Statements in readable form"),
        tag(
            "p",
            "Told once for each version of the data set; `fedmed ledger --json` shows them word for word.",
            class_="note",
        ),
        tag("table", tag("thead", head), tag("tbody", *rows), class_="words"),
        class_="annex",
    )


def _limits() -> Markup:
    return tag(
        "footer",
        "Listed are the vectors and statements that the clinic's own software recorded before it sent them. Not listed: "
        "keys, shares of keys, signatures, messages of errors, and whatever else left by other ways. "
        f"Written by fedmed {__version__}; this page is one file and loads nothing.",
    )


def _head(*names: str) -> Markup:
    return tag("tr", *(tag("th", name, scope="col") for name in names))


def _row(*cells: Value) -> Markup:
    return tag("tr", *(tag("td", cell) for cell in cells))


def _cell(text: str) -> str:
    return text or formats.DASH


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
