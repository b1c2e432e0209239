"""The family `bert`: BERT's network, pretrained on the project's own texts, then trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field

from feilun.core.i18n import _
from feilun.core.run import Run
from feilun.models.family import Estimate, Lesson
from feilun.models.neural.pretrain import Pretrain
from feilun.models.neural.settings import Neural, share_the_cores
from feilun.models.transformer import Transformer

if TYPE_CHECKING:
    from feilun.models.neural.encoder import Encoder, Read
    from feilun.models.neural.reading import Reader


class Bert(Transformer):
    """The family `transformer`, pretrained on the project's unlabelled records before it learns
    the task; worth its time where texts are many and labels few."""

    use: ClassVar[str] = "bert"

    pretrain: Pretrain = Field(Pretrain(), description="How it is pretrained.")

    def estimate(self, lesson: Lesson, budget_seconds: float, run: Run) -> Estimate:
        """As for any network, with the steps of pretraining that fit their share."""
        from feilun.models.neural import priming

        share_the_cores()
        found, table = priming.estimated(
            self.pretrain,
            lesson,
            budget_seconds,
            run,
            lambda some, seconds: Neural.estimate(self, some, seconds, run),
        )
        return found._replace(family=found.family.model_copy(update={"pretrain": table}))

    def encoder(self, vocabulary: int, pad: int, read: Read = "pooled") -> Encoder:
        """BERT's network with first weights that pretraining gets ahead from."""
        from feilun.models.neural.encoders import bert
        from feilun.models.neural.pretraining import start_near

        made = super().encoder(vocabulary, pad, read)
        assert isinstance(made, bert.Bert)
        start_near(made)
        return made

    def reader(self, lesson: Lesson, run: Run) -> Reader:
        """A tokenizer trained on the unlabelled texts too."""
        from feilun.models.neural import corpus, tokenizing

        return tokenizing.reader(self, corpus.sample_of(lesson, corpus.TOKENIZED), run)

    def prime(self, encoder: Encoder, reader: Reader, lesson: Lesson, run: Run) -> None:
        """Pretrains; told and left out where there is no unlabelled record."""
        from feilun.models.neural import pretraining

        if not lesson.unlabelled:
            run.say(_("There are no unlabelled records: nothing is pretrained."))
            return
        task = pretraining.Task(self, self.pretrain, reader, lesson)
        pretraining.pretrained(task, encoder, run)

    def planned(self, lesson: Lesson, seconds: float, run: Run) -> Self:
        """The same with the steps of pretraining decided that fit `seconds`."""
        from feilun.models.neural import priming

        share_the_cores()
        ready = self.resolved(len(lesson.train))
        table = priming.planned(ready, ready.pretrain, lesson, seconds, run)
        return self.model_copy(update={"pretrain": table})

    def pretrained(self, lesson: Lesson, folder: Path, run: Run) -> None:
        """Pretrains on the texts of `lesson`, and writes the encoder into `folder` (empty), for
        `hub` and `frozen` to build on. Raises `NothingToPretrainOn`, and what `fit` does."""
        from feilun.models.neural import priming

        share_the_cores()
        ready = self.resolved(len(lesson.train))
        priming.pretrain(ready, ready.pretrain, lesson, folder, run, None)
