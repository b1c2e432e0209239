"""Training a WordPiece tokenizer as BERT has it, the same on every run.

Lower case, every Chinese character a word of its own, everything else in learnt pieces. Only
`tokenizers` is needed.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from feilun.models.neural.reading import Frame, Reader, encodable

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PAD, UNK, CLS, SEP, MASK = range(len(SPECIAL))
FRAME = Frame((CLS,), (SEP,), (SEP,), PAD, frozenset(range(len(SPECIAL))))


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


def save(reader: Reader, folder: Path, lowercase: bool) -> None:
    """Writes `tokenizer.json` and `tokenizer_config.json`, which `AutoTokenizer` opens."""
    (folder / "tokenizer.json").write_text(
        reader.tokenizer.to_str(pretty=True) + "\n", encoding="utf-8", newline="\n"
    )
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": reader.max_length,
        "do_lower_case": lowercase,
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
        **{
            f"{name}_token": token
            for name, token in zip(("pad", "unk", "cls", "sep", "mask"), SPECIAL, strict=True)
        },
    }
    (folder / "tokenizer_config.json").write_text(
        json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8", newline="\n"
    )
