import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.edge.intake.multipart import MOST_HEAD, BadMultipart, Parts, TooLarge, content_type


def body(parts, boundary=b"b", preamble=b"", end=b"--") -> bytes:
    found = preamble
    for headers, content in parts:
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers.items())
        found += b"\r\n--" + boundary + b"\r\n" + lines + b"\r\n" + content
    return found + b"\r\n--" + boundary + end


def cut(data: bytes, boundary: bytes = b"b", most: int = 1000, parts: int = 10, step: int = 7) -> list:
    reader, found = Parts(boundary, most, parts), []
    for start in range(0, len(data), step):
        found += reader.take(data[start : start + step])
    assert reader.is_over
    return found


PART = st.tuples(st.dictionaries(st.sampled_from([b"content-type", b"x-y"]), st.sampled_from([b"a/b", b"c"])), st.binary())


@given(st.lists(PART, max_size=5), st.integers(1, 50), st.sampled_from([b"", b"preamble", b"\r\n-"]))
def test_parts_come_out_whole_however_the_body_is_cut(parts, step, preamble):
    boundary = b"0123boundary"
    assert cut(body(parts, boundary, preamble), boundary, 10**6, 10, step) == parts


@given(st.binary(max_size=300), st.integers(1, 20))
def test_any_bytes_are_parts_or_refused(data, step):
    reader = Parts(b"b", 100, 5)
    try:
        for start in range(0, len(data), step):
            list(reader.take(data[start : start + step]))
    except (BadMultipart, TooLarge):
        pass


def test_a_body_may_begin_with_its_boundary_and_have_an_epilogue():
    assert cut(b"--b\r\nA: 1\r\n\r\nx\r\n--b--\r\nepilogue\r\n--b\r\n") == [({b"a": b"1"}, b"x")]
    assert cut(b"--b\r\n\r\nx\r\n--b--") == [({}, b"x")]


def test_content_that_looks_like_a_boundary_is_content():
    content = b"\r\n--a\r\n--\r\n-b\r\n--"
    assert cut(body([({}, content)])) == [({}, content)]


WRONG = {
    "a boundary with something behind it": (b"--bc\r\n\r\nx\r\n--b--", BadMultipart),
    "headers without an end": (b"--b\r\n" + b"A: 1\r\n" * 3000, TooLarge),
    "headers that end beyond their cap": (b"--b\r\n" + b"A: 1\r\n" * 1500 + b"\r\nx\r\n--b--", BadMultipart),
    "headers that the boundary cuts": (b"--b\r\nA: 1\r\n--b--", BadMultipart),
    "a header without a colon": (b"--b\r\nA 1\r\n\r\nx\r\n--b--", BadMultipart),
    "no boundary at all": (b"x" * (MOST_HEAD + 100), BadMultipart),
    "a part that is too large": (b"--b\r\n\r\n" + b"x" * 1001 + b"\r\n--b--", TooLarge),
    "a part without end": (b"--b\r\n\r\n" + b"x" * (MOST_HEAD + 2000), TooLarge),
    "too many parts": (body([({}, b"x")] * 11), TooLarge),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_refused(name):
    data, error = WRONG[name]
    with pytest.raises(error):
        cut(data, step=1000)


@pytest.mark.parametrize("boundary", [b"", b"x" * 201, b"a\r\nb", b"a ", b'a"'])
def test_a_boundary_that_is_none_is_refused(boundary):
    with pytest.raises(BadMultipart):
        Parts(boundary, 1, 1)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b"", (b"", {})),
        (b"Application/DICOM", (b"application/dicom", {})),
        (b'a/b; Type="x/y";boundary=z', (b"a/b", {b"type": b"x/y", b"boundary": b"z"})),
        (b'a/b;boundary="a;b=c"', (b"a/b", {b"boundary": b"a;b=c"})),
    ],
)
def test_content_types_are_read(value, found):
    assert content_type(value) == found


@pytest.mark.parametrize("value", [b"a/b;", b"a/b;x", b'a/b;x="', b"a/b;=x"])
def test_a_content_type_that_is_none_is_refused(value):
    with pytest.raises(BadMultipart):
        content_type(value)
