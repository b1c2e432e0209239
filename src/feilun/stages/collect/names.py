"""The names that columns usually have, in English and Chinese, by the role they play."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from feilun.stages.collect.columns import LABEL_NAMES, TEXT_NAMES

Layout = Literal[
    "auto",
    "labelled",
    "tabular",
    "alpaca",
    "sharegpt",
    "messages",
    "preference",
    "completion",
    "conll",
    "spans",
    "label_studio",
    "interactions",
    "pairs",
]
"""What the setting `layout` may say."""
LAYOUTS: tuple[str, ...] = get_args(Layout)[1:]
"""Every label format, by name."""

_TURNS = ("messages", "conversations", "conversation", "dialogue", "dialog", "turns", "chat",
          "对话", "消息")  # fmt: skip
_LABEL = ("label", "kto_tag", "标签")
_PROMPT = ("prompt", "提示", "提示词")
_TEXT = (*TEXT_NAMES, "data", "原文")

PAIRS = (
    ("first", "second"), ("sentence1", "sentence2"), ("sentence_1", "sentence_2"),
    ("text_a", "text_b"), ("text1", "text2"), ("question1", "question2"), ("premise", "hypothesis"),
    ("query", "title"), ("query1", "query2"), ("sentence_a", "sentence_b"), ("anchor", "positive"),
    ("句子1", "句子2"), ("文本1", "文本2"), ("问题1", "问题2"),
    ("问句1", "问句2"), ("句子一", "句子二"),
)  # fmt: skip
"""The names that the two columns of a pair of texts usually have."""

NAMES: dict[str, dict[str, Sequence[str]]] = {
    "tabular": {"label": (*LABEL_NAMES, "y", "outcome", "目标", "结果")},
    "alpaca": {
        "instruction": ("instruction", "指令"),
        "input": ("input", "输入"),
        "output": ("output", "response", "输出", "回答"),
        "system": ("system",),
        "history": ("history", "历史"),
        "label": _LABEL,
    },
    "sharegpt": {"messages": _TURNS, "system": ("system",), "label": _LABEL},
    "messages": {"messages": _TURNS, "system": ("system",), "label": _LABEL},
    "preference": {
        "prompt": (*_PROMPT, "instruction", "question", *_TURNS, "指令", "问题"),
        "input": ("input", "输入"),
        "chosen": ("chosen",),
        "rejected": ("rejected",),
        "system": ("system",),
        "label": _LABEL,
    },
    "completion": {
        "prompt": _PROMPT,
        "completion": ("completion", "response", "回答", "回复"),
        "label": _LABEL,
    },
    "conll": {
        "tokens": ("tokens", "words", "字"),
        "tags": ("ner_tags", "tags", "labels", "ner", "label", "标注"),
    },
    "spans": {
        "text": _TEXT,
        "spans": ("entities", "spans", "annotations", "labels", "ner", "实体", "标注", "label"),
        "label": _LABEL,
    },
    "label_studio": {},
    "interactions": {
        "user": ("user_id", "userid", "user", "uid", "reviewerid", "member_id", "customer_id",
                 "用户", "用户id", "用户编号", "会员", "会员id", "客户", "客户id"),
        "item": ("item_id", "itemid", "item", "iid", "product_id", "productid", "product", "sku",
                 "asin", "parent_asin", "movie_id", "movieid", "goods_id", "video_id", "news_id",
                 "song_id", "business_id", "商品", "商品id", "商品编号", "物品", "物品id",
                 "视频id", "影片"),
        "time": ("time", "timestamp", "ts", "datetime", "event_time", "created_at", "date",
                 "unixreviewtime", "时间", "时间戳", "日期", "发生时间"),
        "event": ("event", "event_type", "behavior", "behavior_type", "behaviour", "action",
                  "行为", "行为类型", "事件", "事件类型", "动作"),
        "value": ("rating", "value", "score", "stars", "weight", "评分", "打分", "分数", "星级"),
    },
    "pairs": {
        "first": tuple(first for first, _second in PAIRS),
        "second": tuple(second for _first, second in PAIRS),
        "label": (*LABEL_NAMES, "gold_label", "similarity", "score", "is_duplicate", "same",
                  "relevance", "相似度", "是否相同", "是否相似", "是否重复", "相同"),
    },
}  # fmt: skip
"""Layout → role → the names its column may have, the likeliest first."""

REQUIRED = {
    "sharegpt": ("messages",),
    "messages": ("messages",),
    "alpaca": ("instruction",),
    "preference": ("chosen", "rejected"),
    "completion": ("prompt", "completion"),
    "spans": ("text",),
    "interactions": ("user", "item"),
    "pairs": ("first", "second"),
}
"""Roles without which a layout cannot be read."""
