"""`feilun.toml`: every mistake told at once, each with its line, the value and the mend."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feilun.core import config
from feilun.core.config import ConfigError, Mistake
from feilun.wheel.settings import Settings

GOOD = """\
[project]
name = "reviews"

[[collect.sources]]
use = "files"
path = "data.csv"
"""


def mistakes(text: str) -> list[Mistake]:
    with pytest.raises(ConfigError) as caught:
        config.parse(text, Settings, Path("feilun.toml"))
    return caught.value.mistakes


def test_a_small_file_has_defaults_for_all_else() -> None:
    settings = config.parse(GOOD, Settings, Path("feilun.toml"))
    assert settings.project.name == "reviews"
    assert settings.serve.port == 8000
    assert [step.use for step in settings.prepare.steps] == ["normalise", "conflicts", "duplicates"]


@pytest.mark.parametrize(
    ("added", "line", "setting", "said"),
    [
        ("[serve]\nport = 70000", 8, "serve.port", "at most 65535, not 70000"),
        ("[serve]\nport = -1", 8, "serve.port", "at least 0, not -1"),
        ("[serve]\nport = 'x'", 8, "serve.port", "a whole number, not 'x'"),
        ("[serve]\nport = 1.5", 8, "serve.port", "a whole number, not 1.5"),
        ("[serve]\nhost = 5", 8, "serve.host", "text in quotes, not 5"),
        ("[serve]\n\n# why\nprot = 1", 10, "serve.prot", "did you mean 'port'?"),
        ("[serve]\nzzzz = 1", 8, "serve.zzzz", "known here: bake, batch_days, cascade"),
        ("[serv]\nport = 1", 7, "serv", "did you mean 'serve'?"),
        ("[train]\nbudget_seconds = 0", 8, "train.budget_seconds", "above 0.0, not 0"),
        ("[train]\nbudget_seconds = 'long'", 8, "train.budget_seconds", "a number, not 'long'"),
        (
            "[train]\nmetric = 'f1'",
            8,
            "train.metric",
            "unknown metric 'f1'; known: accuracy",
        ),
        ("[evaluate]\nconfidence = 1", 8, "evaluate.confidence", "below 1.0, not 1"),
        ("[feedback]\nnew_labels = 'perhaps'", 8, "feedback.new_labels", "true or false"),
        ("[prepare]\nsteps = 3", 8, "prepare.steps", "must be a list"),
        ("[prepare]\nsplit = 3", 8, "prepare.split", "must be a table, not 3"),
        ("[[prepare.steps]]\nkeep = 'none'", 7, "prepare.steps[0]", "says no `use`; known:"),
        (
            "[[prepare.steps]]\nuse = 'duplicate'",
            7,
            "prepare.steps[0]",
            "unknown use 'duplicate'; did you mean 'duplicates'?",
        ),
        (
            "[[prepare.steps]]\nuse = 'zzz'",
            7,
            "prepare.steps[0]",
            "unknown use 'zzz'; known: augment, balance, conflicts, ",
        ),
        (
            "[[prepare.steps]]\nuse = 'normalise'\n[[prepare.steps]]\nuse = 'conflicts'\nkep = 'all'",  # noqa: E501
            11,
            "prepare.steps[1].kep",
            "did you mean 'keep'?",
        ),
        (
            "[[prepare.steps]]\nuse = 'conflicts'\nkeep = 'all'",
            9,
            "prepare.steps[0].keep",
            "must be 'majority', 'none' or 'ask', not 'all'",
        ),
        ("[train]\nmodel.architecture = 'ngrams'", 8, "train.model", "did you mean 'ngram'?"),
        (
            "[train]\nmodel = { architecture = 'ngram', bits = 99 }",
            8,
            "train.model.bits",
            "at most 26, not 99",
        ),
        (
            "[train.model]\narchitecture = 'auto'\nfamilies = []",
            9,
            "train.model.families",
            "at least 1 item",
        ),
    ],
)
def test_a_mistake_is_told_with_its_line_and_mend(
    added: str, line: int, setting: str, said: str
) -> None:
    (mistake,) = mistakes(f"{GOOD}{added}\n")
    assert (mistake.line, mistake.setting) == (line, setting)
    assert said in mistake.message
    assert str(mistake).startswith(f"line {line}: {setting}: ")


def test_all_mistakes_are_told_at_once_in_file_order() -> None:
    text = """\
[project]
name = ""
task = "clasify"
seed = -1

[[collect.sources]]
use = "file"

[[collect.sources]]
use = "files"
pth = "x"
columns = { lable = "y" }

[serve]
port = "x"
"""
    found = mistakes(text)
    assert [(m.line, m.setting) for m in found] == [
        (2, "project.name"),
        (3, "project.task"),
        (4, "project.seed"),
        (6, "collect.sources[0]"),
        (9, "collect.sources[1].path"),
        (11, "collect.sources[1].pth"),
        (12, "collect.sources[1].columns"),
        (15, "serve.port"),
    ]
    error = ConfigError(Path("reviews/feilun.toml"), found)
    assert error.exit_code == 2
    assert "8 mistake(s)" in error.message
    assert error.message.count("\n") == 8
    assert error.remedy is not None
    assert "from line 2 on" in error.remedy


def test_a_value_error_of_a_part_is_told_in_its_own_words() -> None:
    (mistake,) = mistakes(GOOD + "columns = { lable = 'y' }\n")
    assert mistake.message == (
        "columns maps roles such as text, label, group, time; did 'lable' mean 'label'?"
    )


def test_a_missing_section_is_told() -> None:
    assert [(m.setting, m.message) for m in mistakes("")] == [
        ("collect", "is missing"),
        ("project", "is missing"),
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [("[project\n", 1), ('[project]\nname = "a\n', 2), ("[a]\nx = 1\nx = 2\n", 3), ("a = ", 1)],
)
def test_what_is_not_toml_is_told_with_its_line(text: str, line: int) -> None:
    (mistake,) = mistakes(text)
    assert mistake.line == line
    assert "not valid TOML" in mistake.message


def test_deep_nesting_is_refused_without_a_crash() -> None:
    (mistake,) = mistakes("a = " + "[" * 5000)
    assert "not valid TOML" in mistake.message


def test_a_file_that_is_not_utf_8_names_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "feilun.toml"
    path.write_bytes("# 说明\n".encode("gb18030"))
    with pytest.raises(ConfigError, match=r"not UTF-8 text \(byte \d\)"):
        config.read(path, Settings)


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "feilun.toml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert config.read(path, Settings).project.name == "reviews"


def test_a_long_value_is_shortened() -> None:
    (mistake,) = mistakes(f"{GOOD}[train]\nmetric = '{'x' * 500}'\n")
    assert len(mistake.message) < 120


@given(st.text(max_size=200))
def test_any_text_is_settings_or_a_clear_error(text: str) -> None:
    try:
        config.parse(text, Settings, Path("feilun.toml"))
    except ConfigError as error:
        found = error.mistakes
        assert found
        assert all(mistake.message for mistake in found)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2)
    ),
    max_leaves=4,
)


@given(
    section=st.sampled_from(sorted(Settings.model_fields)),
    key=st.sampled_from(("steps", "split", "model", "port", "rules", "sources", "name", "odd")),
    value=_VALUES,
)
def test_any_value_anywhere_is_settings_or_a_clear_error(
    section: str, key: str, value: object
) -> None:
    import json

    from pydantic import ValidationError

    content = {
        "project": {"name": "x"},
        "collect": {"sources": [{"use": "files", "path": "x"}]},
        section: {key: value},
    }
    try:
        Settings.model_validate(content)
    except ValidationError as error:
        for detail in error.errors():
            mistake = config._mistake(detail, Settings, content, {})
            assert mistake.message
            json.dumps(mistake)
