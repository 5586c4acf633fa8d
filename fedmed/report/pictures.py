"""What does it look like? One test case a site: the image, and the drawn mask against the true one."""

from __future__ import annotations

from fedmed.report import formats
from fedmed.report.markup import Markup, tag
from fedmed.report.record import Picture, Report

KEY = (("hit", "found"), ("missed", "missed"), ("false", "drawn and not there"))
LEAD = (
    "Of each site the test case in the middle by Dice, neither the best nor the worst. Only the harness of a simulation "
    "may open test images; a center never sees one."
)


def section(report: Report) -> Markup:
    """The pictures with their key; nothing where there are none."""
    if not report.pictures:
        return Markup("")
    key = [tag("li", tag("span", class_=f"swatch {style}"), text) for style, text in KEY]
    drawn = [_picture(site, picture) for site, picture in report.pictures.items()]
    return tag(
        "section",
        tag("h2", "What does it look like?"),
        tag("p", LEAD, class_="lead"),
        tag("ul", *key, class_="key"),
        tag("div", *drawn, class_="pictures"),
    )


def _picture(site: str, picture: Picture) -> Markup:
    where = "" if picture.slice is None else f", slice {picture.slice + 1}"
    note = f"Dice {formats.score(picture.dice)}{where}"
    caption = tag("figcaption", tag("strong", site), " ", tag("span", note))
    text = f"A test case of {site}: left the image, right the mask drawn on it, {note}"
    return tag("figure", caption, tag("img", src=f"data:image/png;base64,{picture.png}", alt=text))
