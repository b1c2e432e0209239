"""transformers' Auto classes on the folders of mlp, cnn and lstm."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tests.unit.models.neural import encoder_checks as checks
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from feilun.models.neural import published  # noqa: F401  # registers
from feilun.models.neural.encoder import Encoder
from feilun.models.neural.encoders import cnn, lstm, mlp

V, P = checks.VOCABULARY, checks.PAD
POOLED: dict[str, Encoder] = {
    "feilun-mlp": mlp.Mlp(mlp.Shape(V, P, 8, 12, 1, "pooled", neighbours=2, buckets=32)),
    "feilun-cnn": cnn.Cnn(cnn.Shape(V, P, 8, 6, (2, 3), 1, "pooled")),
    "feilun-lstm": lstm.Lstm(lstm.Shape(V, P, 8, 6, 2, "pooled")),
}
STATES: dict[str, Encoder] = {
    "feilun-mlp": mlp.Mlp(mlp.Shape(V, P, 8, 12, 1, "states")),
    "feilun-cnn": cnn.Cnn(cnn.Shape(V, P, 8, 6, (2, 3), 2, "states")),
    "feilun-lstm": lstm.Lstm(lstm.Shape(V, P, 8, 6, 1, "states")),
}


def written(encoder: Encoder, head: torch.nn.Linear, folder: Path) -> None:
    """The folder as `Encoder.layout` lays it out."""
    labels = {"id2label": {"0": "bad", "1": "good"}, "label2id": {"bad": 0, "good": 1}}
    (folder / "config.json").write_text(json.dumps({**encoder.config(), **labels}))
    tensors = {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
    tensors |= {"head.linear.weight": head.weight.detach(), "head.linear.bias": head.bias.detach()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("name", POOLED)
def test_a_text_model_opens_saves_and_answers_alike(name: str, tmp_path: Path) -> None:
    encoder = checks.stirred(POOLED[name])
    head = torch.nn.Linear(encoder.width, 2)
    written(encoder, head, tmp_path)
    ids, mask = checks.batch()
    wanted = checks.answered(encoder, "pooled", ids, mask)
    assert AutoConfig.from_pretrained(tmp_path).model_type == name
    with torch.no_grad():
        model = AutoModel.from_pretrained(tmp_path, local_files_only=True)
        assert torch.equal(model(ids, mask.long()).pooler_output, wanted)
        model.save_pretrained(tmp_path / "again")
        again = AutoModel.from_pretrained(tmp_path / "again")
        assert torch.equal(again(input_ids=ids, attention_mask=mask).pooler_output, wanted)
        whole = AutoModelForSequenceClassification.from_pretrained(tmp_path, local_files_only=True)
        assert torch.equal(whole(ids, mask).logits, head(wanted))
    assert whole.config.id2label == {0: "bad", 1: "good"}


@pytest.mark.parametrize("name", STATES)
def test_a_token_model_opens_and_answers_alike(name: str, tmp_path: Path) -> None:
    encoder = checks.stirred(STATES[name])
    head = torch.nn.Linear(encoder.width, 2)
    written(encoder, head, tmp_path)
    ids = torch.randint(1, V, (2, 5))
    wanted = checks.answered(encoder, "states", ids, ids > 0)
    with torch.no_grad():
        model = AutoModel.from_pretrained(tmp_path, local_files_only=True)
        assert torch.equal(model(ids).last_hidden_state, wanted)
        whole = AutoModelForTokenClassification.from_pretrained(tmp_path, local_files_only=True)
        assert torch.equal(whole(ids).logits, head(wanted))
