"""Names of artifacts: what is written is read back; anything else is refused with a mend."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feilun.core.refs import KINDS, BadRef, Ref

NAMES = st.one_of(
    st.integers(0, 10**9).map(str),
    st.text("0123456789abcdef", min_size=6, max_size=64).map("sha256:".__add__),
    st.from_regex(r"[a-z][a-z0-9_-]{0,31}", fullmatch=True),
)


@given(st.sampled_from(KINDS), NAMES)
def test_what_is_written_is_read_back(kind: str, name: str) -> None:
    ref = Ref(kind, name)
    assert Ref.parse(str(ref)) == ref
    assert Ref.parse(f"  {ref}\n") == ref
    assert ref.is_number == name.isdigit()
    assert ref.is_digest == name.startswith("sha256:")


@given(st.text())
def test_any_text_is_a_name_or_a_clear_error(text: str) -> None:
    try:
        ref = Ref.parse(text)
    except BadRef as error:
        remedy = error.remedy
        assert remedy
    else:
        assert ref.kind in KINDS


@pytest.mark.parametrize(
    "text",
    ["", "/", "model/", "model/LIVE", "model/-1", "model/1.5", "model/sha256:", "model/sha256:xyz",
     "model/live\n2", "model/live/1", "modle/live", "model/²", "model/１", "model/" + "a" * 33],
)  # fmt: skip
def test_what_names_nothing_is_refused(text: str) -> None:
    if text == "model/":
        assert Ref.parse(text) == Ref("model", "latest")
        return
    with pytest.raises(BadRef, match="names no artifact"):
        Ref.parse(text)


def test_the_mend_names_the_nearest_kind() -> None:
    with pytest.raises(BadRef) as caught:
        Ref.parse("datset/3")
    assert caught.value.remedy == "feilun show dataset/1"
    assert caught.value.code == "bad_ref"


def test_a_bare_kind_is_its_newest() -> None:
    assert Ref.parse("report") == Ref("report", "latest")
