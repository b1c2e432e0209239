"""Only `[train] model` is changed in feilun.toml; every other byte stays, or nothing is done."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feilun.wheel.rewrite import NotRewritable, rewritten, toml, write_model

MODEL = {"architecture": "ngram", "cost": 0.7, "min_texts": 2}
TEXT = '[q]\ns = """\n[train]\nmodel = 1\n"""\n'
"""Only looks as if it held the entry."""
WHOLE = 'model = { architecture = "ngram", cost = 0.7, min_texts = 2 }'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            '# a\n[train]\nseconds = 3 # x\nmodel.architecture = "auto"   # or # "b"\n\n[z] # y\n',
            '# a\n[train]\nseconds = 3 # x\nmodel.architecture = "ngram"   # or # "b"\n'
            "model.cost = 0.7\nmodel.min_texts = 2\n\n[z] # y\n",
        ),
        ('[train]\nmodel = { architecture = "a" } # c\n[x]\n', f"[train]\n{WHOLE} # c\n[x]\n"),
        (
            '[train.model]\n# a\ncost = 1.0 # me\narchitecture = "ngram" # keep\n\n[z]\n',
            '[train.model]\n# a\ncost = 0.7 # me\narchitecture = "ngram" # keep\n'
            "min_texts = 2\n\n[z]\n",
        ),
        ("[a]\nb=1", f"[a]\nb=1\n\n[train]\n{WHOLE}\n"),
        ("[train]\n# hi\nseconds=1\n", f"[train]\n{WHOLE}\n# hi\nseconds=1\n"),
        ("[train.tune]\ntrials = 3\n", f"[train.tune]\ntrials = 3\n\n[train]\n{WHOLE}\n"),
        (
            'train.model.architecture = "x"\n',
            'train.model.architecture = "ngram"\ntrain.model.cost = 0.7\n'
            "train.model.min_texts = 2\n",
        ),
        (
            '[train]\nmodel = { architecture = "stack", members = [\n {a = 1},\n] } # tail\n',
            f"[train]\n{WHOLE} # tail\n",
        ),
        ('[train]\r\nmodel = { a = 1 } # é\r\n', f"[train]\r\n{WHOLE} # é\r\n"),
        (TEXT, f"{TEXT}\n[train]\n{WHOLE}\n"),
        ("", f"[train]\n{WHOLE}\n"),
    ],
)  # fmt: skip
def test_every_way_of_writing_it_is_kept(before: str, after: str) -> None:
    assert rewritten(before, MODEL) == after
    assert rewritten(after, MODEL) == after, "written twice is written once"


@pytest.mark.parametrize(
    "text",
    [
        "train = { budget_seconds = 3 }\n",
        "[train]\nmodel = { architecture = [ # why\n 1] }\n",
        '[train]\nmodel.architecture = "stack"\n[[train.model.members]]\narchitecture = "ngram"\n',
        "train = 3\n",
    ],
)
def test_what_cannot_be_changed_safely_is_left_alone(text: str, tmp_path: Path) -> None:
    path = tmp_path / "feilun.toml"
    path.write_text(text)
    with pytest.raises(NotRewritable) as caught:
        write_model(path, MODEL)
    assert WHOLE in (caught.value.remedy or ""), "the remedy is what to write by hand"
    assert path.read_text() == text


def test_mode_mark_and_link_stay(tmp_path: Path) -> None:
    real = tmp_path / "real.toml"
    real.write_bytes(b'\xef\xbb\xbf[train]\nmodel.architecture = "auto" # \xe4\xb8\xad\n')
    real.chmod(0o600)
    (tmp_path / "feilun.toml").symlink_to(real)
    write_model(tmp_path / "feilun.toml", {"architecture": "ngram"})
    assert (tmp_path / "feilun.toml").is_symlink()
    assert real.stat().st_mode & 0o777 == 0o600
    assert real.read_bytes() == (
        b'\xef\xbb\xbf[train]\nmodel.architecture = "ngram" # \xe4\xb8\xad\n'
    )


VALUES: Any = st.recursive(
    st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), inner,
                      max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(VALUES)
def test_what_is_written_is_read_again(value: Any) -> None:
    assert tomllib.loads(f"x = {toml(value)}\n") == {"x": value}
