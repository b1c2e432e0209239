"""The family `transformer`, at nano size on a few dozen texts."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from feilun.core.run import Run
from feilun.models.family import LabelUnknown, Lesson, NothingToLearn
from feilun.models.folder import NotAModel
from feilun.models.transformer import Transformer

LABELS = ("bad", "good")
SMALL: dict[str, Any] = {
    "size": "nano", "layers": 2, "width": 64, "heads": 4, "initializer": "xavier",
    "epochs": 4, "batch_size": 8, "learning_rate": 4e-3, "max_length": 32,
    "vocabulary_size": 400, "threads": 1,
}  # fmt: skip


class Bench(Run):
    """A run that keeps what it is told."""

    def __init__(self, folder: Path, seed: int = 0) -> None:
        self.seed, self.root, self.folder = seed, folder, folder
        self.said: list[str] = []
        self.logged: list[tuple[str, float, int]] = []
        self.spent: dict[str, float] = {}
        self.progressed: list[tuple[float, float, str]] = []

    def within(self, name: str) -> Run:
        return Bench(self.folder / name, self.seed)

    def progress(self, done: float, total: float, what: str = "") -> None:
        self.progressed.append((done, total, what))

    def say(self, message: str) -> None:
        self.said.append(message)

    def drop(self, *_: Any) -> None: ...
    def dropped(self) -> Any: ...

    def spend(self, amount: float, what: str) -> None:
        self.spent[what] = self.spent.get(what, 0) + amount

    def log(self, metric: str, value: float, step: int = 0) -> None:
        self.logged.append((metric, value, step))

    def keep(self, *_: Any) -> Any: ...
    def file(self, *_: Any) -> Any: ...
    def unpack(self, *_: Any) -> Any: ...


def _lesson(rows: pl.DataFrame) -> Lesson:
    return Lesson(rows, rows.head(4), LABELS)


def frame(rows: int = 128, first: int = 0) -> pl.DataFrame:
    good = ["房间干净", "服务很好", "very nice", "喜欢"]
    bad = ["房间脏", "服务差", "never again", "失望"]
    records = []
    for i in range(first, first + rows):
        words = good if i % 2 else bad
        text = f"{words[i % 4]}，{words[i // 4 % 4]} no {i % 7} 酒店"
        records.append((text * (4 if i % 17 == 0 else 1), LABELS[i % 2]))
    return pl.DataFrame(records, schema=["text", "label"], orient="row")


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def trained(where: Path, seed: int = 0, **settings: Any) -> tuple[Path, Bench]:
    run = Bench(where / "run", seed)
    folder = where / "model"
    folder.mkdir(parents=True)
    family = Transformer(**{**SMALL, **settings})
    family.fit(Lesson(frame(), frame(32, 1000), LABELS), folder, run)
    return folder, run


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Bench]:
    return trained(tmp_path_factory.mktemp("transformer"))


def test_it_learns_logs_and_spends(model: tuple[Path, Bench]) -> None:
    folder, run = model
    predictor = Transformer.load(folder)
    test = frame(40, 5000)
    scores = predictor.scores(test["text"].to_list())
    answered = [predictor.labels[i] for i in scores.argmax(axis=1)]
    assert predictor.labels == LABELS
    assert np.mean([a == b for a, b in zip(answered, test["label"], strict=True)]) > 0.9
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-6)
    assert run.spent["tokens"] > 1000
    assert {name for name, _, _ in run.logged} == {
        "loss", "tokens_per_second", "validation_loss", "validation_accuracy",
    }  # fmt: skip
    assert run.progressed[-1][0] == run.progressed[-1][1]


def test_the_folder_has_the_hugging_face_layout(model: tuple[Path, Bench]) -> None:
    assert set(digests(model[0])) == {
        "README.md", "config.json", "feilun.json", "model.onnx", "model.safetensors",
        "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip
    for path in model[0].iterdir():
        assert b"/src/" not in path.read_bytes()
        assert str(Path.home()).encode() not in path.read_bytes()


def test_transformers_opens_it_and_agrees(model: tuple[Path, Bench]) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model[0], local_files_only=True)
    network = AutoModelForSequenceClassification.from_pretrained(model[0], local_files_only=True)
    texts = ["房间干净，very nice", "服务差 no 3", "失望"]
    with torch.no_grad():
        batch = tokenizer(texts, padding=True, return_tensors="pt")
        found = torch.softmax(network(**batch).logits, dim=-1).numpy()
    assert [network.config.id2label[i] for i in range(2)] == list(LABELS)
    np.testing.assert_allclose(Transformer.load(model[0]).scores(texts), found, atol=1e-5)


def test_the_fast_forward_pass_is_transformers_own() -> None:
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    encoder = Transformer(size="nano").encoder(100, 0).eval()
    other = BertModel(BertConfig(**encoder.config())).eval()
    other.load_state_dict(encoder.tensors(), strict=False)
    ids = torch.randint(5, 100, (4, 20))
    mask = torch.ones(4, 20, dtype=torch.long)
    mask[1, 9:] = 0
    kinds = torch.zeros_like(ids)
    kinds[:, 6:] = 1
    for given in (None, kinds):
        with torch.no_grad():
            wanted = other(input_ids=ids, attention_mask=mask, token_type_ids=given)
            pooled = encoder.pooled(ids, mask.bool(), given)
            states = encoder.states(ids, mask.bool(), given)
        assert float((pooled - wanted.pooler_output).abs().max()) < 1e-5
        apart = (states - wanted.last_hidden_state).abs() * mask[:, :, None]
        assert float(apart.max()) < 1e-5


def test_the_same_work_gives_the_same_bytes_and_leaves_torch_alone(
    model: tuple[Path, Bench], tmp_path: Path
) -> None:
    import torch

    torch.set_num_threads(2)
    before = torch.get_rng_state()
    again, _run = trained(tmp_path / "again")
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == 2
    assert not torch.are_deterministic_algorithms_enabled()
    assert digests(again) == digests(model[0])
    other, _run = trained(tmp_path / "other", seed=1)
    assert digests(other)["model.onnx"] != digests(again)["model.onnx"]


SCRIPT = textwrap.dedent("""
    import sys
    from pathlib import Path
    sys.path.insert(0, {here!r})
    import test_transformer as t
    from feilun.models.neural import descent
    descent.CHECKPOINT_SECONDS = 0.0
    where = Path(sys.argv[1])
    run = t.Bench(where / "run")
    run.progress = lambda done, total, what="": print(f"{{done}}/{{total}}", flush=True)
    run.say = lambda message: print("SAID", message, flush=True)
    folder = where / "model"
    folder.mkdir(parents=True, exist_ok=True)
    family = t.Transformer(**t.SMALL)
    family.fit(t.Lesson(t.frame(), t.frame(32, 1000), t.LABELS), folder, run)
""").format(here=str(Path(__file__).parent))


def test_a_killed_training_goes_on_and_ends_with_the_same_bytes(
    model: tuple[Path, Bench], tmp_path: Path
) -> None:
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        for line in first.stdout:
            if line.startswith("25/64"):  # the middle of the second epoch of four
                os.kill(first.pid, signal.SIGKILL)
                break
    assert first.returncode == -signal.SIGKILL
    assert list(tmp_path.glob("run/*/latest.safetensors"))
    assert not list((tmp_path / "model").iterdir())
    second = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "SAID" in second.stdout
    assert "9/64" not in second.stdout.split()
    assert digests(tmp_path / "model") == digests(model[0])


def test_loading_and_predicting_import_neither_torch_nor_transformers(
    model: tuple[Path, Bench],
) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from feilun.models.transformer import Transformer\n"
        f"Transformer.load(Path({str(model[0])!r})).scores(['房间'])\n"
        "print([name for name in ('torch', 'transformers') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_any_text_is_answered_and_nothing_known_is_nan(model: tuple[Path, Bench]) -> None:
    predictor = Transformer.load(model[0])
    nothing = ["", " \n\t", "。，！", "\x00", "[SEP]龘", "龘靐"]
    scores = predictor.scores(nothing)
    assert np.isnan(scores[[0, 1, 2, 3, 5]]).all()
    odd = ["\ud83d房间\udc00", "房间\x00脏", "😀 very", "服务" * 250_000, "x" * 1_000_000 + " 房"]
    scores = predictor.scores(odd)
    assert scores.shape == (5, 2)
    assert np.isfinite(scores[:4]).all()
    assert predictor.scores([]).shape == (0, 2)


def test_a_long_text_is_read_to_its_end(model: tuple[Path, Bench]) -> None:
    predictor = Transformer.load(model[0])
    good, bad = "服务很好，喜欢 very nice，" * 4, "服务差，失望 never again，" * 40
    begun, whole = predictor.scores([good, good + bad])
    assert begun[1] > 0.5 > whole[1]


def test_many_threads_get_the_answers_of_one(model: tuple[Path, Bench]) -> None:
    predictor = Transformer.load(model[0], threads=1)
    texts = frame(64, 300)["text"].to_list()
    wanted = predictor.scores(texts)
    found: list[np.ndarray] = []
    threads = [
        threading.Thread(target=lambda: found.append(predictor.scores(texts))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(np.array_equal(scores, wanted) for scores in found)


def test_an_idle_predictor_burns_no_processor_time(model: tuple[Path, Bench]) -> None:
    predictor = Transformer.load(model[0], threads=2)
    predictor.scores(["房间"] * 64)
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.1


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "feilun.json"])
@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "noise"])
def test_damage_is_told_clearly(
    model: tuple[Path, Bench], tmp_path: Path, name: str, damage: str
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(model[0], folder)
    path = folder / name
    content = path.read_bytes()
    new = {"empty": b"", "cut": content[: len(content) // 2], "noise": b"\xff\x00" * 999}
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(new[damage])
    with pytest.raises(NotAModel):
        Transformer.load(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"labels": ["a"]},
        {"labels": "ab"},
        {"labels": [1, 2]},
        {"max_length": 4096},
        {"max_length": -1},
        {"max_length": None},
        {"frame": {}},
        {"frame": None},
        {"task": "tag"},
        {"task": "regress", "labels": []},
        {"twin": True},
    ],
)
def test_a_card_that_does_not_fit_is_refused(
    model: tuple[Path, Bench], tmp_path: Path, change: dict[str, Any]
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(model[0], folder)
    card = json.loads((folder / "feilun.json").read_text())
    (folder / "feilun.json").write_text(json.dumps({**card, **change}))
    with pytest.raises(NotAModel):
        Transformer.load(folder)


def test_a_loss_that_is_no_number_stops_and_keeps_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from feilun.models.neural import heads
    from feilun.models.neural.descent import LossNotFinite

    real, calls = heads.F.cross_entropy, []

    def broken(*given: Any, **named: Any) -> Any:
        calls.append(1)
        loss = real(*given, **named)
        return loss * float("nan") if len(calls) > 20 else loss

    monkeypatch.setattr(heads.F, "cross_entropy", broken)
    with pytest.raises(LossNotFinite) as raised:
        trained(tmp_path)
    assert "learning_rate" in str(raised.value.remedy)
    assert list(tmp_path.glob("run/*/latest.safetensors"))
    assert not list((tmp_path / "model").iterdir())


def test_nothing_to_learn_and_unknown_labels_are_told(tmp_path: Path) -> None:
    empty = pl.DataFrame({"text": ["", " "], "label": ["bad", "good"]})
    with pytest.raises(NothingToLearn):
        Transformer(**SMALL).fit(Lesson(empty, empty, LABELS), tmp_path, Bench(tmp_path / "run"))
    with pytest.raises(LabelUnknown):
        Transformer(**SMALL).fit(
            Lesson(frame(4), frame(4), ("good",)), tmp_path, Bench(tmp_path / "run")
        )


def test_without_validation_the_last_epoch_is_kept(tmp_path: Path) -> None:
    family = Transformer(**{**SMALL, "epochs": 1, "class_weight": "balanced"})
    family.fit(Lesson(frame(), frame(0), LABELS), tmp_path, Bench(tmp_path / "run"))
    assert np.isfinite(Transformer.load(tmp_path).scores(["房间"])).all()


def test_an_estimate_chooses_within_the_budget(tmp_path: Path) -> None:
    family = Transformer()
    family.estimate(_lesson(frame(64)), 1.0, Bench(tmp_path))  # imports torch
    begun = time.monotonic()
    little = family.estimate(_lesson(frame(64)), 0.1, Bench(tmp_path))
    took = time.monotonic() - begun
    much = family.estimate(_lesson(frame(64)), 1e6, Bench(tmp_path))
    assert took < 10  # three seconds on an idle machine
    assert isinstance(little.family, Transformer)
    assert isinstance(much.family, Transformer)
    assert little.family.size == much.family.size == "nano"
    assert little.family.epochs == 1
    assert little.seconds > 0.1
    assert much.family.epochs == 30
    assert much.seconds > little.seconds
    assert None not in much.family.model_dump().values()
    fixed = (
        Transformer(size="micro", epochs=7)
        .estimate(_lesson(frame(64)), 0.1, Bench(tmp_path))
        .family
    )
    assert isinstance(fixed, Transformer)
    assert (fixed.size, fixed.epochs) == ("micro", 7)


def test_auto_takes_a_bigger_size_when_the_texts_merit_it(tmp_path: Path) -> None:
    many = pl.concat([frame(500)] * 20)
    chosen = Transformer().estimate(_lesson(many), 1e7, Bench(tmp_path)).family
    assert isinstance(chosen, Transformer)
    assert chosen.size == "micro"
