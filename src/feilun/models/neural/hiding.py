"""Passages as a network is pretrained on them: in pairs, with words hidden."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from feilun.core.errors import Invalid
from feilun.core.i18n import _
from feilun.models.neural.batches import POOL
from feilun.models.neural.corpus import Passages
from feilun.models.neural.masking import ASKED_NOT, Vocabulary, hidden, replaced
from feilun.models.neural.pretrain import Pretrain
from feilun.models.neural.reading import Matrix, Reader, Windows

FOLLOWS, FOREIGN = 0, 1
"""Whether the second text of a pair goes on where the first ends; BERT's numbers."""
TRIES = 8
"""Draws of a passage of another text before a pair stays as it is."""


class NoMaskToken(Invalid):
    """The tokenizer has no token that stands for a hidden word."""

    def __init__(self) -> None:
        super().__init__(
            _("The encoder's tokenizer has no [MASK] token: it was not made for pretraining."),
            remedy=_("Leave out pretrain in [train] model, or choose another model.name."),
        )


class Drawn(NamedTuple):
    """What is read in an epoch: the batches (passages), and of each passage where its first and
    its second text begin, how long they are (0: no second), and whether they belong together
    (`ASKED_NOT` where there is one)."""

    batches: list[np.ndarray]
    start: np.ndarray
    length: np.ndarray
    second: np.ndarray
    second_length: np.ndarray
    together: np.ndarray


def vocabulary_of(reader: Reader) -> Vocabulary:
    """What masking needs to know of a tokenizer; raises `NoMaskToken`."""
    special = reader.tokenizer.get_added_tokens_decoder()
    named = [i for i, token in special.items() if "mask" in token.content.lower()]
    if not named:
        raise NoMaskToken()
    plain = np.zeros(reader.vocabulary, dtype=bool)
    plain[list(reader.tokenizer.get_vocab().values())] = True
    plain[[*special, *reader.frame.unknown]] = False
    return Vocabulary(named[0], plain)


class Hider:
    """Batches of passages with words hidden and the answers to them."""

    def __init__(self, reader: Reader, passages: Passages, table: Pretrain, paired: bool) -> None:
        """`reader.max_length` is what is read at once; `paired`: in pairs where a passage has
        two sentences. Raises `NoMaskToken`."""
        self.reader, self.passages, self.table, self.paired = reader, passages, table, paired
        self.vocabulary = vocabulary_of(reader)

    def draw(self, seed: int, epoch: int) -> Drawn:
        """What an epoch reads: every passage once, of near-equal length together."""
        random = np.random.default_rng([seed & 0xFFFFFFFF, epoch])
        given = self.passages
        start, end = given.start[given.first[:-1]], given.start[given.first[1:]]
        none = np.zeros(len(given), dtype=np.int64)
        drawn = Drawn([], start, end - start, none, none, none + ASKED_NOT)
        if self.paired:
            drawn = self._paired(drawn, end, random)
        size = self.table.batch_size
        alone = drawn.second_length == 0
        whole = drawn.length + drawn.second_length
        batches: list[np.ndarray] = []
        for rows in (np.flatnonzero(alone), np.flatnonzero(~alone)):
            shuffled = random.permutation(rows)
            for at in range(0, len(rows), size * POOL):
                near = shuffled[at : at + size * POOL]
                near = near[np.argsort(whole[near], kind="stable")]
                batches += [near[i : i + size] for i in range(0, len(near), size)]
        return drawn._replace(batches=[batches[i] for i in random.permutation(len(batches))])

    def _paired(self, drawn: Drawn, end: np.ndarray, random: np.random.Generator) -> Drawn:
        """Each passage of several sentences cut between two of them; in half of the cases its
        end is exchanged for one of another text."""
        given, count = self.passages, len(self.passages)
        sentences = given.sentences
        several = sentences > 1
        cut = random.integers(1, np.maximum(sentences, 2))
        middle = np.where(several, given.start[given.first[:-1] + np.where(several, cut, 0)], end)
        length = middle - drawn.start
        other = np.flatnonzero(several & (random.random(count) < 0.5))
        found = random.integers(0, count, len(other))
        for _try in range(TRIES):
            same = given.text[found] == given.text[other]
            found[same] = random.integers(0, count, int(same.sum()))
        foreign = given.text[found] != given.text[other]
        other, found = other[foreign], found[foreign]
        begin = given.start[given.first[found] + random.integers(0, sentences[found])]
        room = self.reader.max_length - self.reader.frame.around_two - length[other]
        second, second_length = middle.copy(), end - middle
        second[other] = begin
        second_length[other] = np.minimum(end[found] - begin, room)
        together = np.where(several, FOLLOWS, ASKED_NOT)
        together[other] = FOREIGN
        return Drawn([], drawn.start, length, second, second_length, together)

    def hide(
        self, drawn: Drawn, rows: np.ndarray, random: np.random.Generator
    ) -> tuple[Matrix, np.ndarray]:
        """The passages `rows` as one matrix with words hidden, and in its shape what is to be
        found: the hidden ids, `ASKED_NOT` elsewhere; in the first column whether the texts of a
        pair belong together."""
        matrix, at, ids, word = self._read(drawn, rows)
        row, column = np.nonzero(at >= 0)
        place = at[row, column]
        shown = ids[place]
        starts = word[place] if self.table.whole_words else np.ones(len(place), dtype=bool)
        may = self.vocabulary.plain[shown]
        chosen = hidden(starts, row, may, self.table.masked, random)
        target = np.full(matrix.ids.shape, ASKED_NOT, dtype=np.int64)
        target[row[chosen], column[chosen]] = shown[chosen]
        target[:, 0] = drawn.together[rows] if self.paired else ASKED_NOT
        changed = replaced(shown[chosen], self.vocabulary, random)
        matrix.ids[row[chosen], column[chosen]] = changed
        return matrix, target

    def _read(
        self, drawn: Drawn, rows: np.ndarray
    ) -> tuple[Matrix, np.ndarray, np.ndarray, np.ndarray]:
        """The passages as a matrix, where each id in it stands among the ids read (−1: it is of
        no text), these ids, and whether a word begins with each."""
        lengths = [drawn.length[rows]]
        starts = [drawn.start[rows]]
        if len(rows) and drawn.second_length[rows[0]]:
            lengths.append(drawn.second_length[rows])
            starts.append(drawn.second[rows])
        length, start = np.concatenate(lengths), np.concatenate(starts)
        local = np.cumsum(length) - length
        flat = np.arange(int(length.sum())) + np.repeat(start - local, length)
        ids = self.passages.ids[flat].astype(np.int64)
        word = np.array(self.passages.word[flat])
        word[local] = True
        count = len(rows)
        second = (local[count:], length[count:]) if len(lengths) > 1 else None
        windows = Windows(local[:count], length[:count], np.arange(count), second)
        matrix = self.reader.matrix(ids, windows)
        # Places are read as ids above all that there are.
        above = self.reader.vocabulary
        at = self.reader.matrix(np.arange(len(ids)) + above, windows).ids - above
        return matrix, np.where(at >= 0, at, -1), ids, word
