"""A pretrained encoder as a folder that transformers opens with its head for hidden words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from feilun.models.neural.encoder import Encoder
from feilun.models.neural.encoders.bert import Bert
from feilun.models.neural.pretrained import WEIGHTS, Source, weight_files
from feilun.models.neural.pretraining import MaskedHead

VERSION = {"format": "pt"}


class Names(NamedTuple):
    """Where a type has its parts: the class, and the names of the encoder, of the transform, of
    its norm and of the vocabulary's bias."""

    kind: str
    encoder: str
    transform: str
    norm: str
    bias: str


_BERT = ("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm")
_ROBERTA = ("roberta.", "lm_head.dense", "lm_head.layer_norm", "lm_head.bias")
NAMES = {
    "bert": Names("BertForMaskedLM", "bert.", *_BERT, "cls.predictions.bias"),
    "ernie": Names("ErnieForMaskedLM", "ernie.", *_BERT, "cls.predictions.bias"),
    "roberta": Names("RobertaForMaskedLM", *_ROBERTA),
    "xlm-roberta": Names("XLMRobertaForMaskedLM", *_ROBERTA),
    "camembert": Names("CamembertForMaskedLM", *_ROBERTA),
    "electra": Names(
        "ElectraForMaskedLM",
        "electra.",
        "generator_predictions.dense",
        "generator_predictions.LayerNorm",
        "generator_lm_head.bias",
    ),
    "distilbert": Names(
        "DistilBertForMaskedLM",
        "distilbert.",
        "vocab_transform",
        "vocab_layer_norm",
        "vocab_projector.bias",
    ),
}
"""The types whose head is as ours; of others only the encoder is read and written."""


def _placed(names: Names, head: MaskedHead) -> dict[str, Tensor]:
    """The head's weights under the type's names."""
    return {
        f"{names.transform}.weight": head.linear.weight,
        f"{names.transform}.bias": head.linear.bias,
        f"{names.norm}.weight": head.norm.weight,
        f"{names.norm}.bias": head.norm.bias,
        names.bias: head.bias,
    }


def restore(head: MaskedHead, source: Source) -> bool:
    """Puts the head that an encoder's folder holds into `head`; false where it holds none of
    that shape, and `head` stays as it is."""
    names = NAMES.get(source.kind)
    if names is None:
        return False
    wanted = _placed(names, head)
    found: dict[str, Tensor] = {}
    for file in weight_files(source.folder):
        with safe_open(source.folder / file, framework="pt") as opened:
            for name in set(opened.keys()) & set(wanted):
                found[name] = opened.get_tensor(name)
    if any(name not in found or found[name].shape != wanted[name].shape for name in wanted):
        return False
    with torch.no_grad():
        for name, parameter in wanted.items():
            parameter.copy_(found[name])
    return True


def write(encoder: Encoder, head: MaskedHead, folder: Path) -> None:
    """Writes `config.json` and `model.safetensors` of an encoder of ours or of transformers
    into `folder`; what was added to it for training is folded in first."""
    encoder.settle()
    config = dict(encoder.config())
    names = NAMES.get(str(config.get("model_type")))
    if isinstance(encoder, Bert):
        own = encoder.tensors(pooler=False)
    else:
        body = encoder.get_submodule("body")
        own = dict(body.state_dict())
    tensors = {f"{names.encoder}{name}" if names else name: value for name, value in own.items()}
    if names is not None:
        tensors |= _placed(names, head)
        config["architectures"] = [names.kind]
    config["tie_word_embeddings"] = True
    # A copy of each: tensors that share memory cannot stand in one file.
    apart = {name: value.detach().clone().contiguous().cpu() for name, value in tensors.items()}
    save_file(apart, folder / WEIGHTS, metadata=VERSION)
    (folder / "config.json").write_text(
        json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n",
        encoding="utf-8",
        newline="\n",
    )
