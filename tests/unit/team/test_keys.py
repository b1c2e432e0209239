"""API keys: only the whole, right, unrevoked text opens; nothing that is stored opens anything."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feilun.store import Control
from feilun.team import Keyring, Limits, Scope, user_name
from feilun.team.key_text import new_text, read_text
from feilun.team.keys import KeyEnded, KeyNotFound, MistypedKey, NoKey


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
    assert keys.check(keys.add("all")).scopes == set(Scope) - {Scope.ERASE}


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


def test_the_checksum_tells_typos_without_a_look_up(keys: Keyring) -> None:
    text = keys.add("typed")
    body = len("fw_")
    for at in range(body, len(text) - 1):
        swapped = text[:at] + text[at + 1] + text[at] + text[at + 2 :]
        if swapped != text:
            assert read_text(swapped) is None
    for changed in (text[:-8], text[:-1]):
        with pytest.raises(NoKey):
            keys.check(changed)
    with pytest.raises(MistypedKey):
        keys.check(text[:20] + ("0" if text[20] != "0" else "1") + text[21:])
    assert str(read_text(text)) == text
    assert text.split("_")[2] not in repr(read_text(text))


def test_keys_from_before_there_was_a_checksum_still_open(keys: Keyring) -> None:
    secret = "ab" * 32
    with keys._control.database.write() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO keys (id, name, hash, scopes, created_at)"
                " VALUES ('0123456789ab', 'old', :hash, 'predict', '2026-01-01T00:00:00.000000')"
            ),
            {"hash": keys.hash(secret)},
        )
    key = keys.check(f"fw_0123456789ab_{secret}")
    assert (key.name, key.expires_at, key.limits) == ("old", None, Limits())
    with pytest.raises(NoKey):
        keys.check(f"fw_0123456789ab_{secret[:-1]}c")


def _at(seconds: float) -> str:
    then = datetime.now(UTC) + timedelta(seconds=seconds)
    return then.isoformat(timespec="microseconds")


def test_an_expired_key_opens_nothing(keys: Keyring) -> None:
    gone = keys.add("expired", expires_at=_at(-1))
    there = keys.add("not yet", expires_at=_at(3600))
    with pytest.raises(NoKey):
        keys.check(gone)
    assert keys.check(there).expires_at is not None
    keys.limit(gone.split("_")[1], expires_at=_at(3600))
    assert keys.check(gone).name == "expired"


def test_rotating_keeps_the_old_secret_for_the_grace_and_no_longer(keys: Keyring) -> None:
    first = keys.add("turning", frozenset({Scope.READ}), limits=Limits(per_minute=5))
    identity = first.split("_")[1]
    second = keys.rotate(identity, 3600)
    assert keys.check(first).id == keys.check(second).id == identity
    assert keys.check(second).limits.per_minute == 5
    third = keys.rotate(identity, 0)
    for old in (first, second):
        with pytest.raises(NoKey):
            keys.check(old)
    assert keys.check(third).scopes == {Scope.READ}
    keys.revoke(identity)
    with pytest.raises(KeyEnded):
        keys.rotate(identity, 0)
    with pytest.raises(KeyNotFound):
        keys.rotate("nothing", 0)


def test_limits_are_changed_one_by_one(keys: Keyring) -> None:
    identity = keys.add("limited").split("_")[1]
    assert keys.limit(identity, per_minute=60, monthly=10).limits == Limits(60, None, 10)
    assert keys.limit(identity, monthly=None, monthly_cost=2.5).limits == Limits(
        60, None, None, 2.5
    )
    with pytest.raises(KeyNotFound):
        keys.limit("nothing", monthly=1)


def test_every_change_of_a_key_is_seen_in_the_number_of_changes(keys: Keyring) -> None:
    seen = [keys.changes()]
    identity = keys.add("changing").split("_")[1]
    seen.append(keys.changes())
    for change in (
        lambda: keys.rotate(identity, 0),
        lambda: keys.limit(identity, monthly=1),
        lambda: keys.revoke(identity),
    ):
        change()
        seen.append(keys.changes())
    assert len(set(seen)) == len(seen)


def test_whatever_is_wrong_the_same_work_is_done(
    keys: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unknown, wrong, revoked, expired: one look-up, one hash, two comparisons each."""
    revoked, expired = keys.add("revoked"), keys.add("expired", expires_at=_at(-1))
    keys.revoke(revoked.split("_")[1])
    good = keys.add("good")
    wrong = str(new_text(good.split("_")[1]))
    done: list[str] = []
    for name in ("compare_digest", "digest"):
        real = getattr(hmac, name)
        monkeypatch.setattr(hmac, name, _noted(real, name, done))
    told = set()
    for text in (str(new_text()), wrong, revoked, expired):
        with pytest.raises(NoKey) as caught:
            keys.check(text)
        told.add((type(caught.value), str(caught.value), tuple(done)))
        done.clear()
    assert told == {(NoKey, str(NoKey()), ("digest", "compare_digest", "compare_digest"))}


def _noted(real: Callable[..., Any], name: str, done: list[str]) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        done.append(name)
        return real(*arguments)

    return call
