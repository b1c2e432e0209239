"""From texts to ids: training the tokenizer, encoding once, and windows over long texts.

WordPiece as BERT has it: lower case, every Chinese character a word of its own, everything
else in learnt pieces. Only `tokenizers` and numpy are needed.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PAD, UNK, CLS, SEP, MASK = range(len(SPECIAL))
FRAME = 2
"""Tokens that stand around every window: `[CLS]` before it, `[SEP]` after it."""

PIECE = 65_536
"""Characters encoded in one go: a text of 1 MB costs no more memory than this at a time."""
GROUP = 1 << 20
"""Characters whose encodings are alive at the same time."""
MAX_WINDOWS = 64
"""Windows read of one text; of a longer one, this many, evenly spread from end to end, so
that a request of 1 MB costs at most 64 passes."""


class Encoded(NamedTuple):
    """Texts as ids, without `[CLS]` and `[SEP]`: text i is `ids[start[i]:start[i+1]]`."""

    ids: np.ndarray
    start: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """The number of tokens of each text, int64."""
        return np.diff(self.start)

    def known(self) -> np.ndarray:
        """For each text, whether any of its tokens is in the vocabulary."""
        seen = np.concatenate([[0], np.cumsum(self.ids >= len(SPECIAL))])
        result: np.ndarray = seen[self.start[1:]] > seen[self.start[:-1]]
        return result


class Windows(NamedTuple):
    """Stretches of at most so many tokens: where each begins, how long it is, whose it is."""

    start: np.ndarray
    length: np.ndarray
    text: np.ndarray


def train(
    texts: Sequence[str],
    vocabulary_size: int,
    *,
    min_frequency: int = 2,
    lowercase: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Tokenizer:
    """A tokenizer with at most `vocabulary_size` entries, learnt from `texts`.

    The same texts give the same bytes. The library's trainer does not (three runs gave three
    vocabularies, `tokenizers` 0.23): it numbers the characters in the order of a randomised
    hash table, and breaks ties by number. So we number them first, by frequency and then by
    code point, and hand them over as reserved entries. A character too rare for an entry is
    blanked, so that it cannot come in through a word.
    """
    base = _untrained({}, lowercase)
    normal = [base.normalizer.normalize_str(encodable(text)) for text in texts]
    counts: Counter[str] = Counter()
    for i, text in enumerate(normal):
        counts.update(text)
        if progress is not None and i % 4096 == 0:
            progress(i, len(normal))
    reserved = _alphabet(counts, vocabulary_size, min_frequency)
    kept = set(reserved)
    blank = dict.fromkeys((ord(c) for c in counts if c not in kept), " ")
    base.train_from_iterator(
        (text.translate(blank) for text in normal),
        trainers.WordPieceTrainer(
            vocab_size=vocabulary_size,
            min_frequency=min_frequency,
            special_tokens=reserved,
            show_progress=False,
        ),
    )
    ordered = sorted(base.get_vocab().items(), key=lambda item: item[1])
    return _untrained({token: i for i, (token, _) in enumerate(ordered)}, lowercase)


def _alphabet(counts: Counter[str], vocabulary_size: int, min_frequency: int) -> list[str]:
    """The reserved entries: the special ones, then characters, then their `##` forms."""
    ranked = sorted((-n, c) for c, n in counts.items() if n >= min_frequency and not c.isspace())
    split = pre_tokenizers.BertPreTokenizer()
    wordy = {c for _n, c in ranked if len(split.pre_tokenize_str(f"a{c}")) == 1}
    wordy = {c for c in wordy if not _is_han(c)}
    room = max(vocabulary_size - len(SPECIAL), 1)
    chars: list[str] = []
    for _n, c in ranked:
        cost = 2 if c in wordy else 1
        if cost > room:
            break
        room -= cost
        chars.append(c)
    return [*SPECIAL, *chars, *(f"##{c}" for c in chars if c in wordy)]


def _is_han(char: str) -> bool:
    """Whether BERT's normaliser sets the character apart with spaces: the CJK blocks."""
    normal = normalizers.BertNormalizer(lowercase=False).normalize_str(char)
    return bool(normal.startswith(" "))


def _untrained(vocabulary: dict[str, int], lowercase: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=SPECIAL[UNK]))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    if vocabulary:
        tokenizer.add_special_tokens(list(SPECIAL))
        tokenizer.post_processor = processors.BertProcessing(
            (SPECIAL[SEP], SEP), (SPECIAL[CLS], CLS)
        )
        # What a user types is text, even when it spells "[SEP]".
        tokenizer.encode_special_tokens = True
    return tokenizer


def save(tokenizer: Tokenizer, folder: Path, max_length: int, lowercase: bool) -> None:
    """Writes `tokenizer.json` and `tokenizer_config.json`, which `AutoTokenizer` opens."""
    (folder / "tokenizer.json").write_text(
        tokenizer.to_str(pretty=True) + "\n", encoding="utf-8", newline="\n"
    )
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": max_length,
        "do_lower_case": lowercase,
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
        **{
            f"{name}_token": token
            for name, token in zip(("pad", "unk", "cls", "sep", "mask"), SPECIAL, strict=True)
        },
    }
    (folder / "tokenizer_config.json").write_text(
        json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8", newline="\n"
    )


def open_saved(path: Path) -> Tokenizer:
    """The tokenizer of a `tokenizer.json`; raises whatever the library does on bad bytes."""
    tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True
    return tokenizer


def encodable(text: str) -> str:
    """`text` with lone surrogates, which no UTF-8 can hold, replaced by U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def encode(
    tokenizer: Tokenizer,
    texts: Sequence[str],
    progress: Callable[[int, int], None] | None = None,
) -> Encoded:
    """Every text as ids (int32), in order; memory beside the result is bounded by `GROUP`."""
    ids: list[np.ndarray] = [np.empty(0, dtype=np.int32)]
    lengths = np.zeros(len(texts) + 1, dtype=np.int64)
    for pieces, owners in _groups(texts):
        found = tokenizer.encode_batch_fast(pieces, add_special_tokens=False)
        for owner, encoding in zip(owners, found, strict=True):
            piece = np.array(encoding.ids, dtype=np.int32)
            ids.append(piece)
            lengths[owner + 1] += len(piece)
        if progress is not None:
            progress(owners[-1] + 1, len(texts))
    return Encoded(np.concatenate(ids), np.cumsum(lengths))


def _groups(texts: Sequence[str]) -> Iterator[tuple[list[str], list[int]]]:
    """Pieces of texts, about `GROUP` characters at a time, with the texts they are of."""
    pieces: list[str] = []
    owners: list[int] = []
    size = 0
    for owner, text in enumerate(texts):
        whole = encodable(text)
        for at in range(0, max(len(whole), 1), PIECE):
            pieces.append(whole[at : at + PIECE])
            owners.append(owner)
            size += len(pieces[-1]) + 64
            if size >= GROUP:
                yield pieces, owners
                pieces, owners, size = [], [], 0
    if pieces:
        yield pieces, owners


def windows(encoded: Encoded, max_length: int) -> Windows:
    """Every text cut into windows of at most `max_length` tokens with their frame.

    A long text's windows are all of full length and evenly spread from its first token to its
    last, overlapping a little rather than leaving a stub; at most `MAX_WINDOWS` of them.
    """
    body = max_length - FRAME
    lengths = encoded.lengths
    counts = np.clip(-(-lengths // body), 1, MAX_WINDOWS)
    text = np.repeat(np.arange(len(lengths)), counts)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    step = (lengths - body)[text] / np.maximum(counts[text] - 1, 1)
    offset = np.where(counts[text] > 1, np.rint((np.arange(len(text)) - first) * step), 0)
    start = encoded.start[:-1][text] + offset.astype(np.int64)
    return Windows(start, np.minimum(lengths[text], body), text)


def matrix(ids: np.ndarray, start: np.ndarray, length: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One batch: `input_ids` and `attention_mask`, int64 `[len(start), longest + 2]`."""
    width = int(length.max(initial=0)) + FRAME
    place = np.arange(width - 1)[None, :]
    at = np.minimum(start[:, None] + place[:, :-1], max(len(ids) - 1, 0))
    batch = np.full((len(start), width), PAD, dtype=np.int64)
    batch[:, 0] = CLS
    if len(ids):
        batch[:, 1:-1] = np.where(place[:, :-1] < length[:, None], ids[at], PAD)
    batch[np.arange(len(start)), length + 1] = SEP
    mask = (np.arange(width)[None, :] < (length + FRAME)[:, None]).astype(np.int64)
    return batch, mask
