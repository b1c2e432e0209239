"""API keys: only the whole, right, unrevoked text opens; nothing that is stored opens anything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feilun.store import Control
from feilun.team import Keyring, Scope, user_name
from feilun.team.keys import KeyNotFound, NoKey


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(scope="module")
def keys(folder: Path) -> Iterator[Keyring]:
    control = Control(folder / "control.db")
    yield Keyring(control, folder / "pepper")
    control.close()


def test_a_new_key_opens_with_its_scopes(keys: Keyring) -> None:
    text = keys.add("robot", frozenset({Scope.PREDICT}))
    key = keys.check(text)
    assert (key.name, key.scopes, key.revoked_at) == ("robot", {Scope.PREDICT}, None)
    assert text.split("_")[1] == key.id
    assert keys.check(keys.add("all")).scopes == set(Scope)


def test_two_keys_of_one_name_differ_and_are_listed_without_secrets(keys: Keyring) -> None:
    one, two = keys.add("twin"), keys.add("twin")
    assert one != two
    listed = [key for key in keys.all() if key.name == "twin"]
    assert [key.id for key in listed] == [one.split("_")[1], two.split("_")[1]]
    assert not any(one.split("_")[2] in str(key) for key in listed)


def test_a_revoked_key_opens_nothing_and_others_still_do(keys: Keyring) -> None:
    gone, there = keys.add("gone"), keys.add("there")
    keys.revoke(gone.split("_")[1])
    when = next(key.revoked_at for key in keys.all() if key.name == "gone")
    assert when is not None
    with pytest.raises(NoKey):
        keys.check(gone)
    keys.revoke(gone.split("_")[1])
    assert next(key.revoked_at for key in keys.all() if key.name == "gone") == when
    assert keys.check(there).name == "there"


@pytest.mark.parametrize("identity", ["", "nothing", "\ud800", "' OR 1=1 --"])
def test_revoking_what_is_not_there_is_told(keys: Keyring, identity: str) -> None:
    with pytest.raises(KeyNotFound):
        keys.revoke(identity)


def test_every_changed_character_is_refused(keys: Keyring) -> None:
    text = keys.add("exact")
    wrong = [
        text[:at] + ("0" if text[at] != "0" else "1") + text[at + 1 :] for at in range(len(text))
    ]
    wrong += [text[:-1], text + "0", text + " ", " " + text, text.upper(), text + "_", "x" + text]
    for changed in wrong:
        with pytest.raises(NoKey):
            keys.check(changed)
    assert keys.check(text), "the control: the right text opens"


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None
)
@given(st.text(st.characters()) | st.from_regex(r"fw_[0-9a-f]{0,20}_[0-9a-f]{0,300}"))
def test_any_other_text_is_refused_and_never_an_accident(keys: Keyring, text: str) -> None:
    with pytest.raises(NoKey):
        keys.check(text)


def test_what_is_stored_opens_nothing(keys: Keyring, folder: Path) -> None:
    text = keys.add("stored")
    identity, secret = text.split("_")[1:]
    content = b"".join(path.read_bytes() for path in folder.iterdir())
    assert identity.encode() in content
    assert secret.encode() not in content


def test_the_pepper_is_the_owners_alone_and_stays(keys: Keyring, folder: Path) -> None:
    pepper = keys.pepper()
    assert len(pepper) == 32
    assert keys.pepper() == pepper
    assert (folder / "pepper").stat().st_mode & 0o077 == 0


def test_a_key_of_another_project_opens_nothing(keys: Keyring, tmp_path: Path) -> None:
    """The same row under another pepper: a copied database alone is worth nothing."""
    text = keys.add("moved")
    other = Keyring(keys._control, tmp_path / "pepper")
    with pytest.raises(NoKey):
        other.check(text)


def test_a_user_without_a_name_still_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """`docker run --user 12345`: no USER, no line in /etc/passwd."""
    assert user_name()

    def unknown() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr("getpass.getuser", unknown)
    assert user_name().startswith("uid-")
