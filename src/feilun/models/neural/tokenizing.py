"""Training a tokenizer of one of three kinds, the same on every run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from feilun.core.i18n import _
from feilun.core.run import Run
from feilun.models.neural import wordpiece
from feilun.models.neural.reading import Reader, encodable
from feilun.models.neural.wordpiece import CLS, FRAME, SEP, SPECIAL, UNK

if TYPE_CHECKING:
    from feilun.models.neural.settings import Neural

SPACE = "▁"
"""Stands for the blank before a word."""
LONGEST = 16
"""Characters of a piece."""


def reader(settings: Neural, texts: Sequence[str], run: Run) -> Reader:
    """A tokenizer trained on `texts`, of the kind and size that `settings` say."""
    assert settings.vocabulary_size is not None
    assert settings.max_length is not None
    told = _("training the tokenizer")
    train = {"wordpiece": wordpiece.train, "bpe": train_bpe, "unigram": train_unigram}
    tokenizer = train[settings.tokenizer](
        texts,
        settings.vocabulary_size,
        min_frequency=settings.min_frequency,
        lowercase=settings.lowercase,
        progress=lambda done, total: run.progress(done, total, told),
    )
    return Reader(tokenizer, FRAME, settings.max_length)


def train_bpe(
    texts: Sequence[str],
    vocabulary_size: int,
    *,
    min_frequency: int = 2,
    lowercase: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Tokenizer:
    """Byte-pair encoding of characters (Sennrich et al., ACL 2016) with at most so many entries.

    The library's trainer gives its characters their numbers in the order of a hash table, and
    settles ties by number; so it gets them numbered, as `wordpiece.train` does it.
    """
    blank, chars = _characters(texts, vocabulary_size, min_frequency, lowercase, progress)
    base = _built(models.BPE(unk_token=SPECIAL[UNK]), lowercase)
    base.train_from_iterator(
        (text.translate(blank) for text in _normal(texts, lowercase)),
        trainers.BpeTrainer(
            vocab_size=vocabulary_size,
            min_frequency=min_frequency,
            special_tokens=[*SPECIAL, *chars],
            max_token_length=LONGEST,
            show_progress=False,
        ),
    )
    learnt = json.loads(base.to_str())["model"]
    merges = [(pair[0], pair[1]) for pair in learnt["merges"]]
    model = models.BPE(vocab=learnt["vocab"], merges=merges, unk_token=SPECIAL[UNK])
    return _finished(_built(model, lowercase))


def train_unigram(
    texts: Sequence[str],
    vocabulary_size: int,
    *,
    min_frequency: int = 2,
    lowercase: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Tokenizer:
    """A unigram language model of pieces (Kudo, ACL 2018) with at most so many entries.

    The library's trainer adds probabilities up in the order of a hash table and on all
    processors, so that the last digits, and with them near-ties, differ from run to run. This
    one is ours: pieces are counted, then pruned by expectation maximisation, in a fixed order.
    """
    from feilun.models.neural.unigram import learnt

    blank, chars = _characters(texts, vocabulary_size, min_frequency, lowercase, progress)
    words: Counter[str] = Counter()
    split = _pre_tokenizer()
    for text in _normal(texts, lowercase):
        words.update(word for word, _at in split.pre_tokenize_str(text.translate(blank)))
    room = vocabulary_size - len(SPECIAL)
    pieces = learnt(words, chars, room, min_frequency, LONGEST)
    entries = [*((token, 0.0) for token in SPECIAL), *pieces]
    return _finished(_built(models.Unigram(entries, unk_id=UNK), lowercase))


def _characters(
    texts: Sequence[str],
    vocabulary_size: int,
    min_frequency: int,
    lowercase: bool,
    progress: Callable[[int, int], None] | None,
) -> tuple[dict[int, str], list[str]]:
    """What blanks the characters too rare for an entry, and those that have one, the most
    frequent first and equals by code point."""
    counts: Counter[str] = Counter()
    for i, text in enumerate(_normal(texts, lowercase)):
        counts.update(text)
        if progress is not None and i % 4096 == 0:
            progress(i, len(texts))
    for blank in [c for c in counts if c.isspace()]:
        del counts[blank]
    counts[SPACE] = 1 << 62
    room = max(vocabulary_size - len(SPECIAL), 1)
    ranked = sorted((-n, c) for c, n in counts.items() if n >= min_frequency)[:room]
    chars = [c for _n, c in ranked]
    kept = set(chars)
    return dict.fromkeys((ord(c) for c in counts if c not in kept), " "), chars


def _normal(texts: Sequence[str], lowercase: bool) -> list[str]:
    normalizer = _normalizer(lowercase)
    return [normalizer.normalize_str(encodable(text)) for text in texts]


def _normalizer(lowercase: bool) -> normalizers.Normalizer:
    """BERT's cleaning without the blanks around Chinese characters: here they join."""
    return normalizers.BertNormalizer(lowercase=lowercase, handle_chinese_chars=False)


def _pre_tokenizer() -> pre_tokenizers.PreTokenizer:
    """Words with the blank before them; punctuation apart, and digits one by one."""
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always"),
            pre_tokenizers.Punctuation(),
            pre_tokenizers.Digits(individual_digits=True),
        ]
    )


def _built(model: models.Model, lowercase: bool) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = _normalizer(lowercase)
    tokenizer.pre_tokenizer = _pre_tokenizer()
    tokenizer.decoder = decoders.Metaspace(replacement=SPACE, prepend_scheme="always")
    return tokenizer


def _finished(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.post_processor = processors.BertProcessing((SPECIAL[SEP], SEP), (SPECIAL[CLS], CLS))
    # What a user types is text, even when it spells "[SEP]".
    tokenizer.encode_special_tokens = True
    return tokenizer
