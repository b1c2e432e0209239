"""Encoders of every type that is promised: the same vectors in torch and in ONNX, and what of
them is trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import onnx  # noqa: E402
import onnxruntime as ort  # noqa: E402
from tests.tiny_encoders import DECODERS, KINDS, tiny  # noqa: E402
from transformers import AutoModel  # noqa: E402

from feilun.models.neural import pretrained  # noqa: E402
from feilun.models.neural.adapter import Adapter, add_adapters  # noqa: E402
from feilun.models.neural.anatomy import NotAdaptable, stack_of  # noqa: E402
from feilun.models.neural.encoders.hub import (  # noqa: E402
    HubEncoder,
    Tuning,
    opened,
    sketched,
)
from feilun.models.neural.graph import Graph  # noqa: E402
from feilun.models.neural.heads import Classes  # noqa: E402
from feilun.models.neural.pretrained import EncoderUnfit, Source  # noqa: E402

DRAWN = ("bert", "roberta", "xlm-roberta", "electra", "ernie")


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    return {kind: tiny(tmp_path_factory.mktemp(kind), kind) for kind in KINDS}


def made(folder: Path, how: str = "full", pooling: Any = "mean") -> HubEncoder:
    body = opened(pretrained.checked(folder), dropout=0.1)
    return HubEncoder(body, pooling, Tuning(how, 4)).eval()


def batch(rows: int = 3, most: int = 9) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.randint(5, 50, (rows, most), generator=torch.Generator().manual_seed(1))
    length = torch.tensor([most, 4, 1])[:rows, None]
    mask = torch.arange(most)[None] < length
    return ids.masked_fill(~mask, 0), mask


def shaken(encoder: HubEncoder) -> HubEncoder:
    """Every trained weight moved, as training would."""
    with torch.no_grad():
        random = torch.Generator().manual_seed(2)
        for parameter in encoder.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=random) * 0.05)
    return encoder


def answered(encoder: HubEncoder, read: Any = "pooled", pairs: bool = False) -> onnx.ModelProto:
    graph = Graph(encoder, pairs)
    axes: list[str | int] = ["batch", "tokens"] if read == "states" else ["batch"]
    model = graph.finished(encoder.draw(graph, read), "output", [*axes, encoder.width])
    onnx.checker.check_model(model)
    return model


def run(model: onnx.ModelProto, ids: torch.Tensor, mask: torch.Tensor, kinds: Any = None) -> Any:
    session = ort.InferenceSession(model.SerializeToString(deterministic=True))
    given = {"input_ids": ids.numpy(), "attention_mask": mask.long().numpy()}
    names = {one.name for one in session.get_inputs()}
    if "token_type_ids" in names:
        given["token_type_ids"] = kinds.numpy()
    return session.run(None, given)[0]


@pytest.mark.parametrize("kind", KINDS)
def test_vectors_are_transformers_own(folders, kind):
    encoder = made(folders[kind])
    ids, mask = batch()
    theirs = AutoModel.from_pretrained(folders[kind]).eval()
    with torch.no_grad():
        wanted = theirs(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        found = encoder.states(ids, mask)
    assert torch.allclose(found[mask], wanted[mask], atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "first", "last"])
def test_pooling_looks_at_real_tokens_only(folders, pooling):
    encoder = made(folders["bert"], pooling=pooling)
    ids, mask = batch()
    with torch.no_grad():
        states, found = encoder.states(ids, mask), encoder.pooled(ids, mask)
    own = states[1, :4]
    wanted = {"mean": own.mean(0), "first": own[0], "last": own[-1]}[pooling]
    assert torch.allclose(found[1], wanted, atol=1e-6)
    answer = run(answered(encoder), ids, mask)
    assert answer == pytest.approx(found.numpy(), abs=1e-5)


@pytest.mark.parametrize("how", ["full", "lora", "adapter"])
@pytest.mark.parametrize("kind", DRAWN)
def test_a_drawn_graph_answers_as_torch_does(folders, kind, how):
    encoder = shaken(made(folders[kind], how))
    ids, mask = batch()
    kinds = (torch.arange(ids.shape[1])[None] > 2).long().expand_as(ids) * mask
    with torch.no_grad():
        wanted = encoder.states(ids, mask, kinds).numpy()
    encoder.settle()
    found = run(answered(encoder, "states", pairs=True), ids, mask, kinds)
    assert found[mask.numpy()] == pytest.approx(wanted[mask.numpy()], abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in DRAWN])
def test_an_exported_graph_answers_as_torch_does(folders, kind):
    pooling = "last" if kind in DECODERS else "mean"
    encoder = shaken(made(folders[kind], "adapter", pooling))
    model = answered(encoder)
    for rows, most in ((3, 9), (1, 1), (2, 30)):
        ids, mask = batch(rows, most)
        with torch.no_grad():
            wanted = encoder.pooled(ids, mask).numpy()
        assert run(model, ids, mask) == pytest.approx(wanted, abs=1e-5)
    content = model.SerializeToString(deterministic=True)
    for word in (b"site-packages", b"feilun/models", str(Path.cwd()).encode(), b"pytorch"):
        assert word not in content
    again = answered(encoder).SerializeToString(deterministic=True)
    assert again == content


@pytest.mark.parametrize("how", ["lora", "adapter"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_correction_begins_at_nothing(folders, kind, how):
    ids, mask = batch()
    with torch.no_grad():
        plain = made(folders[kind]).pooled(ids, mask)
        corrected = made(folders[kind], how).pooled(ids, mask)
    assert torch.allclose(plain, corrected, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_adapters_are_two_per_layer(folders, kind):
    encoder = made(folders[kind], "adapter")
    assert len(encoder.adapters()) == 2 * len(stack_of(encoder.body)[1]) == 4
    trained = {name for name, p in encoder.named_parameters() if p.requires_grad}
    assert trained
    assert all(".down." in name or ".up." in name for name in trained)


def test_lora_ends_in_the_weights(folders, tmp_path):
    encoder = shaken(made(folders["bert"], "lora"))
    ids, mask = batch()
    with torch.no_grad():
        wanted = encoder.states(ids, mask)
    encoder.settle()
    layout = encoder.layout(Classes(encoder.width, ("a", "b"), 0.0))
    save(layout, tmp_path)
    theirs, told = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not told["unexpected_keys"]
    assert all("pooler" in name for name in told["missing_keys"])
    with torch.no_grad():
        found = theirs.eval()(input_ids=ids, attention_mask=mask.long()).last_hidden_state
    assert torch.allclose(found[mask], wanted[mask], atol=1e-5)


def test_adapters_stand_beside_an_encoder_that_opens_as_it_was(folders, tmp_path):
    encoder = shaken(made(folders["bert"], "adapter"))
    layout = encoder.layout(Classes(encoder.width, ("a", "b"), 0.0))
    save(layout, tmp_path)
    theirs, told = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not told["unexpected_keys"]
    before = made(folders["bert"]).body.state_dict()
    after = theirs.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert {name.split(".")[0] for name in layout.beside} == {"head", "adapters"}
    assert sum(".down.weight" in name for name in layout.beside) == 4


def save(layout: Any, folder: Path) -> None:
    from safetensors.torch import save_file

    (folder / "config.json").write_text(json.dumps(layout.config))
    save_file(layout.tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("how", ["lora", "adapter"])
@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "bert", "hidden_size": 768, "num_hidden_layers": 12, "vocab_size": 21_128},
        {"model_type": "bert", "hidden_size": 384, "num_hidden_layers": 12,
         "num_attention_heads": 12, "intermediate_size": 1536, "vocab_size": 20_000},
    ],
)  # fmt: skip
def test_corrections_are_at_most_three_percent_of_the_weights(tmp_path, config, how):
    (tmp_path / "config.json").write_text(json.dumps(config))
    body = sketched(Source(tmp_path, config, 0))
    with torch.device("meta"):
        trained, every = HubEncoder(body, "mean", Tuning(how, 16)).counts()
    assert 0 < trained <= 0.03 * every


def test_the_groups_are_all_parameters_from_the_bottom_to_the_top(folders):
    for kind in KINDS:
        encoder = made(folders[kind])
        groups = encoder.groups()
        assert len(groups) == 3
        assert len({id(p) for group in groups for p in group}) == len(list(encoder.parameters()))
        bottom = {id(p) for p in groups[0]}
        assert id(encoder.body.get_input_embeddings().weight) in bottom


def test_fewer_layers(folders):
    for kind in KINDS:
        body = opened(pretrained.checked(folders[kind]), layers=1)
        assert len(stack_of(body)[1]) == 1


def test_head_alone_trains_nothing_of_the_encoder(folders):
    assert made(folders["bert"], "head").counts()[0] == 0


def test_what_cannot_be_adapted_is_told(folders):
    body = opened(pretrained.checked(folders["bert"]))
    with pytest.raises(NotAdaptable):
        HubEncoder(body, "mean", Tuning("lora", targets=("nosuch",)))


def test_a_tokenizer_larger_than_the_embeddings(folders):
    with pytest.raises(EncoderUnfit, match="100000"):
        opened(pretrained.checked(folders["bert"]), vocabulary=100_000)


def test_an_adapter_corrects_its_layer():
    parent = torch.nn.Sequential(torch.nn.Linear(3, 2))
    add_adapters(parent, ["0"], 1)
    adapter = parent[0]
    assert isinstance(adapter, Adapter)
    with torch.no_grad():
        adapter.down.weight.fill_(1.0)
        adapter.up.weight.fill_(2.0)
        x = torch.tensor([[1.0, 2.0, 3.0]])
        y = adapter.linear(x)
        wanted = y + 2 * torch.nn.functional.gelu(y.sum())
        assert torch.allclose(parent(x), wanted)
