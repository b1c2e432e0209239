"""Pretraining: hidden words are found, and whether one passage follows another.

(Devlin et al., NAACL 2019.) The head projects to the vocabulary only what is to be found, with
the embeddings' own weights.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
import tokenizers
import torch
import torch.nn.functional as F  # noqa: N812  # its name everywhere
from torch import Tensor, nn

from feilun.core.errors import Invalid
from feilun.core.i18n import _
from feilun.core.run import Run
from feilun.models.family import Lesson
from feilun.models.neural import memory
from feilun.models.neural.checkpoint import Checkpoints, Position
from feilun.models.neural.corpus import Passages, prepared, texts_of
from feilun.models.neural.descent import Descent, Part, Place
from feilun.models.neural.device import pick_precision
from feilun.models.neural.encoder import Encoder, Read
from feilun.models.neural.encoders.bert import ACTIVATIONS, EPSILON, Bert, Layer
from feilun.models.neural.heads import Head
from feilun.models.neural.hiding import Hider
from feilun.models.neural.initial import SPREAD, initialise
from feilun.models.neural.masking import ASKED_NOT
from feilun.models.neural.network import Network
from feilun.models.neural.pretrain import Pretrain
from feilun.models.neural.pretrained import Source
from feilun.models.neural.reading import Reader

if TYPE_CHECKING:
    from feilun.models.neural.settings import Neural

SHORT = 100.0
"""The longest wave of the places' sinusoids is so many times the shortest."""
FIRST = 0.06
"""Spread of the first embeddings of words and of places: BERT's .02 are slow to grow."""
LONGEST = 128
"""Tokens of a passage, unless set: attention over more costs more than it teaches."""


class Tied(NamedTuple):
    """What a head of pretraining shares with its encoder: the embeddings `[vocabulary, …]`, the
    pooler (None: the head has its own), and the function between two layers."""

    words: Tensor
    pooler: nn.Linear | None
    activation: Callable[[Tensor], Tensor]
    epsilon: float


@torch.no_grad()
def start_near(encoder: Bert) -> None:
    """First weights with which a network from scratch looks at a token's neighbours from the
    start: places are sinusoids (Vaswani et al. 2017, with short waves), and queries are keys
    (Trockman & Kolter, "Mimetic initialization of self-attention layers", ICML 2023).

    Measured once each (reviews, 2 layers × 128, wordpiece, the same steps and rates): after
    some 560 steps a hidden token cost 5.56 nats; 5.72 with waves as long as in the paper, 5.9
    with such sinusoids alone, queries apart from keys and the spread BERT's.
    """
    words, places = encoder.words.weight, encoder.places.weight
    count, width = places.shape
    pace = SHORT ** -(torch.arange(0, width, 2) / width)
    angle = torch.arange(count)[:, None] * pace
    places.copy_(torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)[:, :width])
    places.mul_(2**0.5 * FIRST)
    words.mul_(FIRST / SPREAD)
    for layer in encoder.layers:
        assert isinstance(layer, Layer)
        query, key, value = layer.attention.weight.chunk(3)
        nn.init.xavier_uniform_(key)
        query.copy_(key)
        nn.init.xavier_uniform_(value)
        nn.init.xavier_uniform_(layer.gathered.weight)


def tied_of(encoder: Encoder) -> Tied:
    """What a head shares with an encoder of ours, or of transformers."""
    if isinstance(encoder, Bert):
        activation = ACTIVATIONS[encoder.activation]
        return Tied(encoder.words.weight, encoder.pooler, activation, EPSILON)
    from transformers.activations import ACT2FN

    from feilun.models.neural.encoders.hub import HubEncoder

    assert isinstance(encoder, HubEncoder)
    config = encoder.body.config
    words = encoder.body.get_input_embeddings().weight
    assert isinstance(words, Tensor)
    # ELECTRA's head has gelu whatever its layers have; elsewhere they are the same.
    named = "gelu" if config.model_type == "electra" else getattr(config, "hidden_act", "gelu")
    epsilon = float(getattr(config, "layer_norm_eps", EPSILON))
    return Tied(words, None, ACT2FN[named], epsilon)


class MaskedHead(Head):
    """BERT's heads of pretraining: a transform and the embeddings for hidden words, a linear
    layer on the pooled first token for whether two passages belong together."""

    read: ClassVar[Read] = "states"

    def __init__(self, width: int, tied: Tied) -> None:
        super().__init__(width, (), tied.words.shape[1], 0.0)
        # A tuple, so that torch does not take them for weights of the head's own.
        self._tied = (tied,)
        self.norm = nn.LayerNorm(tied.words.shape[1], eps=tied.epsilon)
        self.bias = nn.Parameter(torch.zeros(len(tied.words)))
        self.pooler = None if tied.pooler is not None else nn.Linear(width, width)
        self.follows = nn.Linear(width, 2)
        self.bag = nn.Linear(width, tied.words.shape[1])
        self.told: dict[str, float] = {}
        initialise(self, "normal")
        self.forget()

    def forget(self) -> None:
        """Begins to count anew."""
        self.lost, self.asked, self.right, self.judged = 0.0, 0, 0, 0

    def forward(self, x: Tensor) -> Tensor:
        """The states as they are: only those at hidden words are worth a projection."""
        return x

    def words(self, states: Tensor) -> Tensor:
        """Logits over the vocabulary, float32 `[…, vocabulary]`, of states `[…, width]`."""
        (tied,) = self._tied
        transformed = self.norm(tied.activation(self.linear(states)))
        return F.linear(transformed, tied.words, self.bias).float()

    def pooled(self, states: Tensor) -> Tensor:
        """The first token of states `[texts, tokens, width]` through the pooler."""
        pooler = self._tied[0].pooler or self.pooler
        assert pooler is not None
        return torch.tanh(pooler(states[:, 0]))

    def pair(self, pooled: Tensor) -> Tensor:
        """Logits, float32 `[texts, 2]`: the second text follows, or is another's."""
        result: Tensor = self.follows(pooled)
        return result.float()

    def gist(self, pooled: Tensor) -> Tensor:
        """Logits over the vocabulary, float32 `[texts, vocabulary]`: any word hidden in it."""
        return F.linear(self.bag(pooled), self._tied[0].words, self.bias).float()

    def loss(self, output: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """`target` `[texts, tokens]` as `Hider.hide` has it. The loss of pairs counts as much
        as the mean of the words'."""
        words = target[:, 1:].reshape(-1)
        at = torch.nonzero(words != ASKED_NOT)[:, 0]
        states = output[:, 1:].reshape(-1, output.shape[-1])
        found = self.words(states.index_select(0, at))
        result = F.cross_entropy(found, words[at], reduction="sum")
        self.lost += float(result.detach())
        self.asked += len(at)
        pooled = self.pooled(output)
        if self._tied[0].pooler is not None:
            # A text is judged by its first token, of which hidden words ask nothing.
            likely = F.log_softmax(self.gist(pooled), dim=-1)
            whose = at // (output.shape[1] - 1)
            result = result - likely.index_select(0, whose).gather(1, words[at, None]).sum()
        rows = torch.nonzero(target[:, 0] != ASKED_NOT)[:, 0]
        if len(rows):
            truth = target[rows, 0]
            judged = self.pair(pooled)[rows]
            result = result + F.cross_entropy(judged, truth) * len(at)
            self.right += int((judged.argmax(dim=1) == truth).sum())
            self.judged += len(rows)
        return result

    def weights(self, target: Tensor) -> Tensor:
        return (target[:, 1:] != ASKED_NOT).sum().to(torch.float32)


class Pretraining(Descent):
    """A pretraining under way."""

    network: Network

    def __init__(
        self,
        settings: Neural,
        hider: Hider,
        network: Network,
        checkpoints: Checkpoints,
        place: Place,
        run: Run,
        steps: int,
    ) -> None:
        super().__init__(settings, network, checkpoints, place, run, 0)
        self.hider, self.paired, self.total = hider, hider.paired, steps

    def told(self, epoch: int) -> str:
        return _("pretraining, pass {epoch} over the texts").format(epoch=epoch + 1)

    def batches(self, position: Position) -> Iterator[list[Part]]:
        drawn = self.hider.draw(self.run.seed, position.epoch)
        left = self.total - position.step
        some = drawn.batches[position.batch : position.batch + left]
        for number, rows in enumerate(some, position.batch):
            random = np.random.default_rng([self.run.seed & 0xFFFFFFFF, position.epoch, number])
            parts = np.array_split(rows, min(self.settings.accumulate, len(rows)))
            yield [self.hider.hide(drawn, part, random) for part in parts]

    def judge(self, position: Position) -> Position:
        return position.model_copy(
            update={
                "epoch": position.epoch + 1,
                "batch": 0,
                "finished": position.step >= self.total,
            }
        )

    def figures(self) -> dict[str, float]:
        """The mean loss of a hidden word, in nats; how many pairs were judged rightly."""
        head = self.network.head
        assert isinstance(head, MaskedHead)
        found = {"mlm_loss": head.lost / max(head.asked, 1)}
        if head.judged:
            found["nsp_accuracy"] = head.right / head.judged
        head.forget()
        head.told = found
        return found


class Task(NamedTuple):
    """One pretraining: what of (the settings with every choice made), how, and on what."""

    settings: Neural
    table: Pretrain
    reader: Reader
    lesson: Lesson

    @property
    def length(self) -> int:
        """Tokens read at once."""
        most = self.reader.max_length
        return min(self.table.max_length or LONGEST, most)

    @property
    def name(self) -> str:
        """Twelve hex digits over all that decides its outcome, beside the seed."""
        digest = hashlib.sha256()
        said = self.settings.model_dump(mode="json")
        versions = [torch.__version__, tokenizers.__version__]
        digest.update(json.dumps([said, versions], sort_keys=True, ensure_ascii=False).encode())
        digest.update(self.reader.tokenizer.to_str().encode())
        for path in self.lesson.unlabelled:
            digest.update(f"{path.name} {path.stat().st_size}\n".encode())
        for text in self.lesson.train["text"].to_list():
            digest.update(repr(text).encode() + b"\n")
        return digest.hexdigest()[:12]


class NothingToPretrainOn(Invalid):
    """No text is long enough for a word in it to be hidden and found."""

    def __init__(self) -> None:
        super().__init__(_("There is no text to pretrain on."), remedy="feilun show dataset/latest")


def pretrained(
    task: Task, encoder: Encoder, run: Run, source: Source | None = None
) -> MaskedHead | None:
    """Pretrains `encoder` in place, and returns the head it was done with; None where there was
    nothing to learn from, which is told. `source` is where the encoder is from: its own head
    for hidden words is gone on with. A killed predecessor's work in `run.folder` is too. Raises
    `NoMaskToken`, `NotEnoughMemory`, `LossNotFinite`."""
    folder = run.folder / f"pretrain-{task.name}-{run.seed}"
    passages = passages_of(task, folder, run)
    if not len(passages):
        run.say(_("No text is long enough to pretrain on."))
        return None
    training = begun(task, encoder, passages, run, folder, source)
    position = training.checkpoints.restore(training.state) or Position()
    if position.step and not position.finished:
        run.say(_("Going on with pretraining from step {step}.").format(step=position.step))
    elif not position.step:
        run.say(
            _("Pretraining on {texts:,} texts ({passages:,} passages), {steps:,} steps.").format(
                texts=len(np.unique(passages.text)), passages=len(passages), steps=training.total
            )
        )
    training.descend(position)
    head = training.network.head
    assert isinstance(head, MaskedHead)
    return head


def begun(
    task: Task,
    encoder: Encoder,
    passages: Passages,
    run: Run,
    folder: Path | None = None,
    source: Source | None = None,
) -> Pretraining:
    """A pretraining of `encoder` before its first step, with its checkpoints in `folder`."""
    hider = Hider(_reader(task), passages, task.table, _paired(task, passages, run))
    device = next(encoder.parameters()).device
    settings, tied = _as_set(task), tied_of(encoder)
    head = MaskedHead(encoder.width, tied)
    if source is not None:
        from feilun.models.neural import masked_files

        masked_files.restore(head, source)
    _check_memory(settings, encoder, len(tied.words), task, device)
    network = Network(encoder, head).to(device)
    place = Place(device, pick_precision(settings.precision, device))
    steps = task.table.num_steps(len(passages))
    checkpoints = Checkpoints(folder or run.folder)
    return Pretraining(settings, hider, network, checkpoints, place, run, steps)


def passages_of(task: Task, folder: Path, run: Run) -> Passages:
    """The texts as passages, in files in `folder`."""
    told = _("reading the texts")
    return prepared(
        texts_of(task.lesson),
        task.reader,
        folder,
        length=task.length - _around(task),
        whole_words=task.table.whole_words,
        progress=lambda done: run.progress(0, 1, f"{told}: {done:,}"),
    )


def _around(task: Task) -> int:
    frame = task.reader.frame
    return frame.around_two if task.table.next_sentence else frame.around_one


def _reader(task: Task) -> Reader:
    return Reader(task.reader.tokenizer, task.reader.frame, task.length)


def _paired(task: Task, passages: Passages, run: Run) -> bool:
    """Whether pairs are judged; told where they were asked for and there are none."""
    if not task.table.next_sentence:
        return False
    if not task.reader.frame.before:
        run.say(_("Nothing stands before this encoder's texts: next_sentence is left out."))
        return False
    several = bool((passages.sentences > 1).any()) and bool(passages.text[-1] != passages.text[0])
    if not several:
        run.say(_("No text has two sentences: next_sentence is left out."))
    return several


def _as_set(task: Task) -> Neural:
    """The settings of the task's training with those of pretraining in their place."""
    table, settings = task.table, task.settings
    return settings.model_copy(
        update={
            "epochs": 1,
            "batch_size": table.batch_size,
            "learning_rate": table.learning_rate or settings.learning_rate,
            "warmup": table.warmup,
            "max_length": task.length,
            "layer_decay": 1.0,
        }
    )


def _check_memory(
    settings: Neural, encoder: Encoder, vocabulary: int, task: Task, device: torch.device
) -> None:
    """Raises `NotEnoughMemory`: a hidden word's logits, their softmax and its gradient are each
    as long as the vocabulary."""
    need = memory.needed(settings, encoder, "states", task.length)
    rows = -(-settings.batch_size // settings.accumulate)
    logits = 3 * rows * task.length * task.table.masked * vocabulary
    grown = need._replace(activations=need.activations + int(logits * memory.BYTES))
    memory.check(settings, grown, device)
