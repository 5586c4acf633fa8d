from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from fedmed.report.markup import Markup, join, tag


class Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.texts = [], []

    def handle_starttag(self, name, attributes):
        self.tags.append((name, dict(attributes)))

    def handle_data(self, data):
        self.texts.append(data)


@given(st.text(st.characters(exclude_categories=("Cs", "Cc"))), st.text(st.characters(exclude_categories=("Cs", "Cc"))))
def test_no_text_and_no_attribute_breaks_out_of_its_element(text, attribute):
    reader = Reader()
    reader.feed(tag("p", text, title=attribute))
    reader.close()
    assert reader.tags == [("p", {"title": attribute})]
    assert "".join(reader.texts) == text


def test_markup_is_kept_and_text_is_escaped():
    assert tag("p", tag("b", "<"), "&") == "<p><b>&lt;</b>&amp;</p>"
    assert isinstance(join("a", None, Markup("<br>")), Markup)


def test_names_and_numbers_of_attributes():
    assert tag("circle", cx=1.0, r=2.345, stroke_width=None, class_="dot", text_anchor="end") == (
        '<circle cx="1" r="2.35" class="dot" text-anchor="end"></circle>'
    )
