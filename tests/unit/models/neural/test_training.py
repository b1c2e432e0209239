"""The training loop: parts of a batch, every optimizer, going on, memory, precision."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.unit.models.neural import lessons
from tests.unit.models.neural.lessons import TINY, Bench

from feilun.models.neural import device, fit, memory
from feilun.models.neural.checkpoint import Checkpoints, Position
from feilun.models.neural.network import Network
from feilun.models.neural.optimizers import optimizer_for, rate_at
from feilun.models.neural.training import Place, Training
from feilun.models.transformer import Transformer

CPU = Place(torch.device("cpu"), torch.float32)


def training(where: Path, name: str = "classify", **settings: Any) -> Training:
    run = Bench(where)
    little = {"dropout": 0.0, "layers": 1, "width": 32, "heads": 2}
    family = Transformer(**{**TINY, **little, **settings}).resolved(100)
    material = fit.material(family, lessons.lesson(name, 80), run)
    reader = material.train.reader
    torch.manual_seed(5)
    encoder = family.encoder(reader.vocabulary, reader.frame.pad)
    network = Network(encoder, fit.head(material, encoder.width))
    return Training(material, network, Checkpoints(where), CPU, run)


def stepped(made: Training, steps: int, first: int = 0) -> dict[str, torch.Tensor]:
    plan = made.material.train.plan(0, 0, made.material.settings.batch_size)
    made.network.train()
    for i in range(first, first + steps):
        made.step(i, made.parts(plan, plan.batches[i % len(plan.batches)]))
    return {name: value.detach().clone() for name, value in made.network.trained().items()}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", ["classify", "several", "regress", "tag", "match"])
def test_parts_of_a_batch_add_up_to_it(name: str, tmp_path: Path) -> None:
    more = {"optimizer": "sgd", "learning_rate": 0.1, "warmup": 0.0, "class_weight": "balanced"}
    whole = stepped(training(tmp_path / "a", name, **more), 4)
    parts = stepped(training(tmp_path / "b", name, accumulate=3, **more), 4)
    for key, value in whole.items():
        torch.testing.assert_close(parts[key], value, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(
    "kind", ["sgd", "momentum", "nesterov", "adam", "adamw", "rmsprop", "adafactor"]
)
def test_every_optimizer_learns_and_goes_on_from_its_checkpoint(kind: str, tmp_path: Path) -> None:
    rate = {"sgd": 0.1, "momentum": 0.02, "nesterov": 0.02, "rmsprop": 1e-4, "adafactor": 0.03}
    more = {"optimizer": kind, "learning_rate": rate.get(kind, 3e-3), "dropout": 0.1}
    more["initializer"] = "xavier"
    whole = training(tmp_path / "a", schedule="constant", **more)
    torch.manual_seed(1)
    wanted = stepped(whole, 100)
    assert sum(whole.losses[-10:]) < 0.3 * sum(whole.losses[:10])
    half = training(tmp_path / "b", schedule="constant", **more)
    torch.manual_seed(1)
    stepped(half, 50)
    half.checkpoints.save(half.state, Position(step=50))
    again = training(tmp_path / "b", schedule="constant", **more)
    assert again.checkpoints.restore(again.state) == Position(step=50)
    found = stepped(again, 50, first=50)
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)


def test_lower_layers_learn_more_slowly(tmp_path: Path) -> None:
    made = training(tmp_path, layer_decay=0.5, layers=2)
    share = {
        id(p): group["share"] for group in made.optimizer.param_groups for p in group["params"]
    }
    encoder = made.network.encoder
    assert share[id(made.network.head.linear.weight)] == 1.0
    assert [share[id(layer[0])] for layer in encoder.groups()] == [0.0625, 0.125, 0.25, 0.5]
    assert len(share) == len(made.network.trained())
    for group in optimizer_for(made.material.settings, made.network).param_groups:
        assert (group["weight_decay"] > 0) == (group["params"][0].ndim > 1)


def test_rates_rise_and_fall() -> None:
    for schedule in ("constant", "linear", "cosine"):
        rates = [rate_at(step, 100, 0.1, schedule) for step in range(100)]
        assert rates[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
        assert rates[10] == pytest.approx(1.0)
        assert rates[99] == pytest.approx(
            {"constant": 1.0, "linear": 1 / 90, "cosine": 0.0003}[schedule], abs=1e-4
        )
    assert rate_at(0, 10, 0.0, "linear") == 1.0


def test_too_little_memory_is_told_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(memory.NotEnoughMemory) as raised:
        Transformer(**{**TINY, "width": 4096, "layers": 90, "heads": 64, "batch_size": 512}).fit(
            lessons.lesson("classify", 40), tmp_path, Bench(tmp_path / "run")
        )
    assert "batch_size 512" in str(raised.value)
    assert not list(tmp_path.glob("run/*/*.safetensors"))
    (tmp_path / "memory.max").write_text("300000000\n")
    (tmp_path / "memory.current").write_text("250000000\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 100000000\n")
    monkeypatch.setattr(memory, "GROUP", tmp_path)
    assert memory.free(CPU.device) == 150_000_000
    monkeypatch.setattr(memory, "PROC", tmp_path / "none")
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.free(CPU.device) is None


def test_the_activations_are_as_many_as_was_told(tmp_path: Path) -> None:
    made = training(tmp_path, dropout=0.1)
    encoder, kept = made.network.encoder.train(), 0

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        if tensor.untyped_storage().data_ptr() not in seen:
            seen.add(tensor.untyped_storage().data_ptr())
            kept += tensor.untyped_storage().nbytes()
        return tensor

    seen = {p.untyped_storage().data_ptr() for p in encoder.parameters()}
    ids = torch.randint(5, 20, (8, 32))
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        states = encoder.states(ids, torch.ones_like(ids, dtype=torch.bool))
    told = 8 * encoder.activations(32, "states") * 4
    assert states.requires_grad
    assert told * 2 / 3 < kept < told * 4 / 3


def test_a_precision_that_would_be_emulated_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text("flags : avx2 avx512f\n")
    monkeypatch.setattr(device, "CPU_FLAGS", tmp_path / "cpuinfo")
    for wish in ("bf16", "fp16"):
        with pytest.raises(device.PrecisionUnsupported):
            device.pick_precision(wish, CPU.device)
    assert device.pick_precision("auto", CPU.device) == torch.float32
    (tmp_path / "cpuinfo").write_text("flags : avx512_bf16\n")
    assert device.pick_precision("bf16", CPU.device) == torch.bfloat16
    assert device.pick_precision("auto", CPU.device) == torch.float32


@pytest.mark.skipif(not device._has_bf16(CPU.device), reason="no bf16 here")
def test_bf16_learns(tmp_path: Path) -> None:
    made = training(tmp_path, learning_rate=5e-3)
    made.place = Place(CPU.device, torch.bfloat16)
    stepped(made, 100)
    assert sum(made.losses[-10:]) < 0.7 * sum(made.losses[:10])
