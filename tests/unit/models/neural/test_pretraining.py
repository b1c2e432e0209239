"""Pretraining: what is hidden, what is asked, and that it learns, resumes and repeats."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.tiny_encoders import tiny

from feilun.core.run import Run
from feilun.models.bert import Bert
from feilun.models.family import Lesson
from feilun.models.hub import Hub
from feilun.models.neural import corpus, wordpiece, words
from feilun.models.neural.hiding import FOLLOWS, FOREIGN, Hider, NoMaskToken, vocabulary_of
from feilun.models.neural.masking import ASKED_NOT, Vocabulary, hidden, replaced
from feilun.models.neural.pretrain import Pretrain
from feilun.models.neural.reading import Reader
from feilun.models.neural.wordpiece import FRAME, MASK

LABELS = ("bad", "good")
SMALL: dict[str, Any] = {
    "size": "nano", "layers": 1, "width": 64, "epochs": 1, "batch_size": 16, "max_length": 32,
    "vocabulary_size": 400, "threads": 1, "learning_rate": 3e-3,
    "pretrain": {"steps": 60, "batch_size": 16, "warmup": 0.05},
}  # fmt: skip
THINGS = ["房间", "服务", "早餐", "位置", "价格", "酒店", "空调", "前台"]
GOOD = ["干净", "满意", "喜欢", "推荐", "舒服"]
BAD = ["失望", "太差", "讨厌", "糟糕", "退款"]
CANARY = "鹦鹉"


class Bench(Run):
    """A run that keeps what it is told."""

    def __init__(self, folder: Path, seed: int = 0) -> None:
        self.seed, self.root, self.folder = seed, folder, folder
        self.said: list[str] = []
        self.logged: list[tuple[str, float, int]] = []

    def within(self, name: str) -> Bench:
        return Bench(self.folder / name, self.seed)

    def progress(self, done: float, total: float, what: str = "") -> None:
        assert 0 <= done <= total

    def say(self, message: str) -> None:
        self.said.append(message)

    def drop(self, *_: Any) -> None: ...
    def dropped(self) -> Any: ...
    def spend(self, *_: Any) -> None: ...

    def log(self, metric: str, value: float, step: int = 0) -> None:
        self.logged.append((metric, value, step))

    def keep(self, *_: Any) -> Any: ...
    def file(self, *_: Any) -> Any: ...
    def unpack(self, *_: Any) -> Any: ...


def texts(count: int, seed: int = 0) -> list[str]:
    """Reviews of two sentences, each of one mood."""
    random = np.random.default_rng(seed)
    made = []
    for _number in range(count):
        mood = GOOD if random.random() < 0.5 else BAD
        one, two = (f"{random.choice(THINGS)}{random.choice(mood)}" for _ in range(2))
        made.append(f"{one}，very {random.choice(mood)}。{two} unbelievable！")
    return made


def lesson(where: Path, unlabelled: int = 200) -> Lesson:
    given = texts(24, 1)
    labels = ["good" if any(w in t for w in GOOD) else "bad" for t in given]
    train = pl.DataFrame({"text": given, "label": labels})
    validation = pl.DataFrame({"text": [CANARY * 3, given[0]], "label": ["bad", labels[0]]})
    shards = ()
    if unlabelled:
        path = where / "unlabelled.parquet"
        pl.DataFrame({"text": [*texts(unlabelled, 2), None, ""]}).write_parquet(path)
        shards = (path,)
    return Lesson(train, validation, LABELS, unlabelled=shards)


def reader_of(given: list[str]) -> Reader:
    return Reader(wordpiece.train(given, 400), FRAME, 32)


def passages_of(given: list[str], where: Path, **settings: Any) -> tuple[Reader, corpus.Passages]:
    reader = reader_of(given)
    length = reader.max_length - FRAME.around_two
    whole = settings.get("whole_words", True)
    return reader, corpus.prepared(given, reader, where, length=length, whole_words=whole)


# What is hidden


def test_the_share_of_hidden_ids_is_exact_and_words_go_together() -> None:
    random = np.random.default_rng(0)
    length = random.integers(1, 5, 200_000)
    start = np.zeros(length.sum(), dtype=bool)
    start[np.cumsum(length) - length] = True
    row = np.cumsum(random.random(len(start)) < 0.02)
    start[1:] |= row[1:] != row[:-1]
    may = random.random(len(start)) < 0.95
    found = hidden(start, row, may, 0.15, random)
    word = np.cumsum(start) - 1
    size = np.bincount(word)
    taken = np.bincount(word, weights=found)
    assert set(np.unique(taken[taken > 0] == size[taken > 0])) == {True}
    assert not found[~may].any()
    assert found.mean() == pytest.approx(0.15, abs=0.003)


def test_short_rows_lose_their_share_too_and_a_batch_is_never_empty() -> None:
    random = np.random.default_rng(1)
    row = np.repeat(np.arange(30_000), 4)
    every = np.ones(len(row), dtype=bool)
    assert hidden(every, row, every, 0.15, random).mean() == pytest.approx(0.15, abs=0.005)
    for _try in range(200):
        assert hidden(every[:2], row[:2], every[:2], 0.01, random).sum() >= 1
    assert not hidden(every[:2], row[:2], ~every[:2], 0.9, random).any()


def test_eighty_ten_ten() -> None:
    plain = np.ones(1000, dtype=bool)
    plain[:5] = False
    given = np.full(100_000, 500)
    shown = replaced(given, Vocabulary(4, plain), np.random.default_rng(0))
    assert (shown == 4).mean() == pytest.approx(0.8, abs=0.006)
    assert (shown == 500).mean() == pytest.approx(0.1, abs=0.006)
    other = shown[(shown != 4) & (shown != 500)]
    assert len(other) / len(given) == pytest.approx(0.1, abs=0.006)
    assert other.min() >= 5
    assert len(np.unique(other)) > 900


def test_a_batch_asks_for_what_it_hides_and_differs_every_epoch(tmp_path: Path) -> None:
    reader, found = passages_of(texts(400), tmp_path)
    hider = Hider(reader, found, Pretrain(batch_size=32), paired=False)
    first, second = hider.draw(0, 0), hider.draw(0, 1)
    assert sorted(np.concatenate(first.batches)) == list(range(len(found)))
    assert not np.array_equal(first.batches[0], second.batches[0])
    rows = np.arange(64)
    plain, _target = Hider(reader, found, Pretrain(masked=1e-9), False).hide(
        first, rows, np.random.default_rng(0)
    )
    shown, target = hider.hide(first, rows, np.random.default_rng(0))
    again, _other = hider.hide(first, rows, np.random.default_rng(0))
    later, _other = hider.hide(first, rows, np.random.default_rng(9))
    asked = target != ASKED_NOT
    assert np.array_equal(shown.ids, again.ids)
    assert not np.array_equal(shown.ids, later.ids)
    assert np.isin(target[asked], np.flatnonzero(hider.vocabulary.plain)).all()
    # One id of the other batch is hidden too: a batch asks at least once.
    assert (target[asked] == plain.ids[asked]).mean() > 0.99
    assert ((shown.ids == plain.ids) | asked | (plain.ids == MASK)).all()
    assert not asked[:, 0].any()


def test_chinese_words_and_pieces_are_hidden_as_a_whole(tmp_path: Path) -> None:
    given = [*texts(600), *(f"un{w}able" for w in ("bear", "read", "drink"))]
    reader, found = passages_of(given, tmp_path)
    said = [reader.tokenizer.id_to_token(int(i)) for i in found.ids]
    pieces = [i for i, token in enumerate(said) if token.startswith("##")]
    assert pieces
    assert not found.word[pieces].any()
    joined = [said[i - 1] + said[i] for i in np.flatnonzero(~found.word) if i not in set(pieces)]
    assert set(joined) <= {*THINGS, *GOOD, *BAD}
    assert {"房间", "满意", "糟糕"} <= set(joined)
    _reader, apart = passages_of(given, tmp_path / "apart", whole_words=False)
    hider = Hider(reader, apart, Pretrain(whole_words=False), False)
    shown, target = hider.hide(hider.draw(0, 0), np.arange(64), np.random.default_rng(0))
    assert (target != ASKED_NOT).any()
    assert shown.ids.shape == target.shape


def test_the_strongest_pair_is_joined_first_and_none_twice() -> None:
    bits = np.array([-np.inf, 3.0, 5.0, 4.0, 4.0, 1.0])
    assert words.joined(bits, 2.5).tolist() == [False, False, True, False, True, False]


# Pairs


def test_pairs_are_judged_by_whether_they_belong_together(tmp_path: Path) -> None:
    reader, found = passages_of(texts(2000), tmp_path)
    hider = Hider(reader, found, Pretrain(), paired=True)
    drawn = hider.draw(3, 0)
    several = found.sentences > 1
    assert several.mean() > 0.9
    together = drawn.together == FOLLOWS
    foreign = drawn.together == FOREIGN
    assert foreign[several].mean() == pytest.approx(0.5, abs=0.04)
    ends = drawn.start + drawn.length
    assert np.array_equal(drawn.second[together], ends[together])
    whose = np.searchsorted(found.start[found.first], drawn.second, side="right") - 1
    assert (found.text[whose[foreign]] != found.text[foreign]).all()
    assert (drawn.length + drawn.second_length <= 32 - FRAME.around_two).all()
    for rows in drawn.batches[:20]:
        matrix, target = hider.hide(drawn, rows, np.random.default_rng(0))
        assert np.array_equal(target[:, 0], drawn.together[rows])
        assert matrix.kinds.any() == bool(drawn.second_length[rows[0]])


# The whole


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def trained(where: Path, **settings: Any) -> tuple[Path, Bench]:
    where.mkdir(parents=True, exist_ok=True)
    run, folder = Bench(where / "run"), where / "model"
    folder.mkdir()
    Bert(**{**SMALL, **settings}).fit(lesson(where), folder, run)
    return folder, run


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Bench]:
    return trained(tmp_path_factory.mktemp("bert"))


def test_the_loss_falls_and_is_logged(model: tuple[Path, Bench]) -> None:
    _folder, run = model
    losses = [value for name, value, _step in run.logged if name == "mlm_loss"]
    assert np.mean(losses[-5:]) < 0.75 * np.mean(losses[:5])
    assert {"nsp_accuracy", "tokens_per_second", "validation_loss"} <= {
        n for n, _v, _s in run.logged
    }
    assert any("60 steps" in message for message in run.said)


def test_the_folder_holds_no_head_of_pretraining(model: tuple[Path, Bench]) -> None:
    from safetensors import safe_open

    folder, _run = model
    with safe_open(folder / "model.safetensors", framework="np") as opened:
        names = set(opened.keys())
    assert not any(name.startswith(("cls.", "head.")) for name in names)
    scores = Bert.load(folder).scores(texts(8, 5))
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)


def test_the_same_work_gives_the_same_bytes(model: tuple[Path, Bench], tmp_path: Path) -> None:
    again, _run = trained(tmp_path)
    assert digests(again) == digests(model[0])
    other, _run = trained(tmp_path / "other", pretrain={**SMALL["pretrain"], "masked": 0.3})
    assert digests(other)["model.safetensors"] != digests(again)["model.safetensors"]


SCRIPT = textwrap.dedent("""
    import sys
    from pathlib import Path
    sys.path[:0] = [{here!r}, {root!r}]
    import test_pretraining as t
    from feilun.models.neural import descent
    descent.CHECKPOINT_SECONDS = 0.0
    where = Path(sys.argv[1])
    run = t.Bench(where / "run")
    run.progress = lambda done, total, what="": print(f"{{done}}/{{total}}", flush=True)
    run.say = lambda message: print("SAID", message, flush=True)
    (where / "model").mkdir(parents=True, exist_ok=True)
    t.Bert(**t.SMALL).fit(t.lesson(where), where / "model", run)
""").format(here=str(Path(__file__).parent), root=str(Path(__file__).parents[4]))


def test_a_killed_pretraining_goes_on_and_ends_with_the_same_bytes(
    model: tuple[Path, Bench], tmp_path: Path
) -> None:
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        for line in first.stdout:
            if line.startswith("37/60"):  # within the third pass over the texts
                os.kill(first.pid, signal.SIGKILL)
                break
    assert first.returncode == -signal.SIGKILL
    assert list(tmp_path.glob("run/pretrain-*/latest.safetensors"))
    second = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "SAID Going on with pretraining" in second.stdout
    assert "20/60" not in second.stdout.split()
    assert digests(tmp_path / "model") == digests(model[0])
    # Killed after pretraining: it is not done again.
    third = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "/60" not in third.stdout
    assert digests(tmp_path / "model") == digests(model[0])


def test_validation_is_never_read(tmp_path: Path, model: tuple[Path, Bench]) -> None:
    given = lesson(tmp_path)
    assert CANARY in "".join(given.validation["text"])
    assert not any(CANARY in text for text in corpus.texts_of(given))
    said = (model[0] / "tokenizer.json").read_text(encoding="utf-8")
    assert CANARY[0] not in said
    assert "房" in said


def test_without_unlabelled_records_it_is_told_and_trains_plainly(tmp_path: Path) -> None:
    run = Bench(tmp_path / "run")
    (tmp_path / "model").mkdir()
    Bert(**SMALL).fit(lesson(tmp_path, unlabelled=0), tmp_path / "model", run)
    assert any("no unlabelled records" in message for message in run.said)
    assert not [name for name, _value, _step in run.logged if name == "mlm_loss"]
    assert Bert.load(tmp_path / "model").labels == LABELS


def test_one_sentence_records_have_no_pairs_and_it_is_told(tmp_path: Path) -> None:
    path = tmp_path / "u.parquet"
    pl.DataFrame({"text": ["房间干净", "服务 very 满意"] * 30}).write_parquet(path)
    given = lesson(tmp_path)
    one = given.train.with_columns(pl.col("text").str.replace_all("[。！].*", ""))
    run = Bench(tmp_path / "run")
    (tmp_path / "model").mkdir()
    small = {**SMALL, "pretrain": {"steps": 4}}
    Bert(**small).fit(given._replace(train=one, unlabelled=(path,)), tmp_path / "model", run)
    assert any("next_sentence is left out" in message for message in run.said)
    assert not [name for name, _value, _step in run.logged if name == "nsp_accuracy"]


def test_an_estimate_decides_the_steps_within_the_share(tmp_path: Path) -> None:
    given = lesson(tmp_path)
    open_ = {**SMALL, "epochs": None, "pretrain": {"share": 0.5}}
    little = Bert(**open_).estimate(given, 0.01, Bench(tmp_path / "a"))
    much = Bert(**open_).estimate(given, 100_000.0, Bench(tmp_path / "b"))
    assert isinstance(little.family, Bert)
    assert isinstance(much.family, Bert)
    assert little.family.pretrain.steps is not None
    assert much.family.pretrain.steps is not None
    assert 1 <= little.family.pretrain.steps < much.family.pretrain.steps
    assert min(much.seconds, little.seconds) > 0
    fixed = Bert(**SMALL).estimate(given, 1.0, Bench(tmp_path / "c")).family
    assert isinstance(fixed, Bert)
    assert fixed.pretrain.steps == 60
    with pytest.raises(ValueError, match="both epochs and steps"):
        Pretrain(epochs=1, steps=1)


# What it writes for others, and goes on with


def test_its_folder_opens_with_transformers_and_agrees(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer

    from feilun.models.neural import masked_files, pretrained, pretraining

    torch.manual_seed(0)
    encoder = Bert(**SMALL).resolved(10).encoder(100, 0)
    head = pretraining.MaskedHead(encoder.width, pretraining.tied_of(encoder))
    torch.nn.init.normal_(head.bias)
    folder = tmp_path / "own"
    folder.mkdir()
    Bert(**SMALL).pretrained(lesson(tmp_path), folder, Bench(tmp_path / "run"))
    assert set(digests(folder)) == {
        "README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip
    assert AutoTokenizer.from_pretrained(folder).mask_token == "[MASK]"
    assert AutoModel.from_pretrained(folder).config.hidden_size == 64
    masked_files.write(encoder, head, folder)
    other = AutoModelForMaskedLM.from_pretrained(folder).eval()
    ids = torch.randint(5, 100, (3, 12))
    mask = torch.ones_like(ids)
    with torch.no_grad():
        wanted = other(input_ids=ids, attention_mask=mask).logits
        found = head.words(encoder.eval().states(ids, mask.bool()))
    assert float((wanted - found).abs().max()) < 1e-5
    assert json.loads((folder / "config.json").read_text())["architectures"] == ["BertForMaskedLM"]
    blank = pretraining.MaskedHead(encoder.width, pretraining.tied_of(encoder))
    assert masked_files.restore(blank, pretrained.checked(folder))
    assert torch.equal(blank.bias, head.bias)


@pytest.mark.parametrize("kind", ["bert", "roberta", "electra", "distilbert", "modernbert"])
def test_a_pretrained_encoder_is_gone_on_with(tmp_path: Path, kind: str) -> None:
    from transformers import AutoModelForMaskedLM

    source = tiny(tmp_path / kind, kind)
    hub = Hub(name=str(source), epochs=1, max_length=32, threads=1,
              pretrain={"steps": 6, "batch_size": 8, "learning_rate": 1e-3})  # fmt: skip
    run = Bench(tmp_path / "run")
    (tmp_path / "model").mkdir()
    hub.fit(lesson(tmp_path), tmp_path / "model", run)
    assert [name for name, _value, _step in run.logged if name == "mlm_loss"]
    (tmp_path / "on").mkdir()
    hub.pretrained(lesson(tmp_path), tmp_path / "on", Bench(tmp_path / "run-on"))
    further = Hub(name=str(tmp_path / "on"), epochs=1, max_length=32, threads=1)
    (tmp_path / "last").mkdir()
    further.fit(lesson(tmp_path), tmp_path / "last", Bench(tmp_path / "run-last"))
    if kind != "modernbert":
        _model, loaded = AutoModelForMaskedLM.from_pretrained(
            tmp_path / "on", output_loading_info=True
        )
        assert not loaded["missing_keys"]


def test_a_decoder_has_no_mask_and_a_frozen_encoder_nothing_to_learn(tmp_path: Path) -> None:
    reader = reader_of(texts(50))
    taken = json.loads(reader.tokenizer.to_str())
    taken["added_tokens"] = [one for one in taken["added_tokens"] if one["content"] != "[MASK]"]
    from tokenizers import Tokenizer

    bare = Reader(Tokenizer.from_str(json.dumps(taken)), FRAME, 32)
    with pytest.raises(NoMaskToken):
        vocabulary_of(bare)
    with pytest.raises(ValueError, match="nothing to train"):
        Hub(tuning="head", pretrain={})


def test_a_corpus_lies_in_files_and_is_taken_up_again(tmp_path: Path) -> None:
    reader, found = passages_of(texts(300), tmp_path)
    assert isinstance(found.ids, np.memmap)
    before = digests(tmp_path)
    again = corpus.prepared(iter(["never read"]), reader, tmp_path, length=29, whole_words=True)
    assert digests(tmp_path) == before
    assert np.array_equal(again.ids, found.ids)
    long = corpus.prepared(
        ["房间" * 500 + "。满意。", "", "。", "x"],
        reader,
        tmp_path / "b",
        length=20,
        whole_words=True,
    )
    assert (np.diff(long.start[long.first]) <= 20).all()
    assert long.start[-1] >= 1000
    assert set(long.text) <= {0, 2}
