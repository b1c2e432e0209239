"""Tiny encoders with random weights, as transformers would save them, made where a test runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

WORDS = (
    "很好非常满意房间干净喜欢服务推荐差失望脏讨厌退款酒店的不去北京上海广州深圳玩昨天和朋友了旅游王小明李雷"
    "韩梅位置偏远热情第一般错完美"
)
ENGLISH = ["good", "very", "great", "bad", "awful", "the", "a", "room", "is", "no", "nice", "hotel"]
COMMON: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 66,
}
KINDS = (
    "bert", "roberta", "xlm-roberta", "electra", "ernie", "distilbert", "modernbert", "qwen2",
    "qwen3", "llama",
)  # fmt: skip
DECODERS = ("qwen2", "qwen3", "llama")


def vocabulary() -> dict[str, int]:
    """Special entries, then letters, digits, Chinese characters and a few words."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789，！,.!"
    entries = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *letters]
    entries += [f"##{c}" for c in letters[:36]] + [w for w in ENGLISH if len(w) > 1]
    return {token: i for i, token in enumerate(dict.fromkeys(entries))}


def tokenizer_json(framed: bool) -> str:
    """WordPiece over `vocabulary`; `framed`: with [CLS] and [SEP] around, as encoders have it."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    known = vocabulary()
    made = Tokenizer(models.WordPiece(known, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    if framed:
        made.post_processor = processors.BertProcessing(
            ("[SEP]", known["[SEP]"]), ("[CLS]", known["[CLS]"])
        )
    return made.to_str()


def config(kind: str) -> Any:
    """The configuration of a tiny network of that type."""
    import transformers

    size = {"vocab_size": len(vocabulary()), **COMMON, "pad_token_id": 0}
    kinds = {
        "bert": transformers.BertConfig,
        "roberta": transformers.RobertaConfig,
        "xlm-roberta": transformers.XLMRobertaConfig,
        "electra": transformers.ElectraConfig,
        "ernie": transformers.ErnieConfig,
        "distilbert": transformers.DistilBertConfig,
        "modernbert": transformers.ModernBertConfig,
        "qwen2": transformers.Qwen2Config,
        "qwen3": transformers.Qwen3Config,
        "llama": transformers.LlamaConfig,
    }
    more: dict[str, dict[str, Any]] = {
        "electra": {"embedding_size": 16},
        "modernbert": {"cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3},
        "qwen2": {"num_key_value_heads": 2},
        "qwen3": {"num_key_value_heads": 2, "head_dim": 8},
        "llama": {"num_key_value_heads": 2, "bos_token_id": 2, "eos_token_id": 3},
    }
    return kinds[kind](**size, **more.get(kind, {}))


def tiny(folder: Path, kind: str = "bert", seed: int = 0) -> Path:
    """A folder with the network, saved by transformers, and its tokenizer."""
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        transformers.AutoModel.from_config(config(kind)).save_pretrained(folder)
    framed = kind not in DECODERS
    (folder / "tokenizer.json").write_text(tokenizer_json(framed), encoding="utf-8")
    told = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(told), encoding="utf-8")
    return folder
