"""What Label Studio exports: JSON and JSON-MIN."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from feilun.stages.collect import layouts
from feilun.stages.collect.source import Quarantine
from tests.unit.stages.collect.layouts import marked, numbered, of_json, raw_json, records


def choice(name: str, *choices: str) -> dict[str, Any]:
    return {
        "from_name": name, "to_name": "text", "type": "choices",
        "value": {"choices": list(choices)},
    }  # fmt: skip


def region(start: int, end: int, text: str, *labels: str, kind: str = "labels") -> dict[str, Any]:
    value = {"start": start, "end": end, "text": text, kind: list(labels)}
    return {"id": "r1", "from_name": "label", "to_name": "text", "type": kind, "value": value}


def task(text: str, *annotations: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {
        "id": 1, "data": {"text": text, "url": "https://x.test"}, "project": 3,
        "annotations": [
            {"id": n, "result": results, "was_cancelled": False, "completed_by": n}
            for n, results in enumerate(annotations)
        ],
        "predictions": [{"result": [choice("sentiment", "预测")]}], **more,
    }  # fmt: skip


def test_choices_are_labels_and_ranges_are_spans() -> None:
    row = task("李雷去了北京", [choice("sentiment", "中性"), region(0, 2, "李雷", "人"),
                                region(4, 6, "北京", "地", "城")])  # fmt: skip
    chunk = raw_json([row])
    assert layouts.detect(chunk) == "label_studio"
    (found,) = records(chunk, "label_studio")
    assert (found["text"], found["label"], found["row"]) == ("李雷去了北京", "中性", 1)
    assert marked(found) == [("人", "李雷"), ("地", "北京"), ("城", "北京")]
    assert found["fields"] == {"url": "https://x.test"}, "predictions teach nothing"


def test_most_annotators_decide_and_cancelled_ones_do_not_count() -> None:
    good, bad = [choice("sentiment", "好")], [choice("sentiment", "坏")]
    settled = task("a text", bad, good, good)
    tied = task("a text", bad, good)
    cancelled = task("a text", bad, bad, good)
    for annotation in cancelled["annotations"][:2]:
        annotation["was_cancelled"] = True
    truth = task("a text", bad, bad, good)
    truth["annotations"][2]["ground_truth"] = True
    found = of_json([settled, tied, cancelled, truth], "label_studio")
    assert [record["label"] for record in found] == ["好", "坏", "好", "好"]
    assert found[0]["fields"]["votes"] == {"sentiment": {"坏": 1, "好": 2}}
    assert "votes" not in found[3]["fields"]


def test_what_is_neither_choice_nor_range_goes_to_fields() -> None:
    results = [
        {"from_name": "stars", "type": "rating", "value": {"rating": 4}},
        {"from_name": "why", "type": "textarea", "value": {"text": ["因为快"]}},
        {"from_name": "n", "type": "number", "value": {"number": 7}},
        {"from_name": "tax", "type": "taxonomy", "value": {"taxonomy": [["a", "b"]]}},
        {"type": "relation", "from_id": "x", "to_id": "y", "direction": "right"},
        {"from_name": "box", "type": "rectanglelabels",
         "value": {"x": 1, "y": 2, "rectanglelabels": ["猫"]}},
        choice("topic", "物流"), choice("sentiment", "好"), choice("aspects", "快", "稳"),
    ]  # fmt: skip
    (found,) = of_json([task("快", results, meta={"batch": 2})], "label_studio")
    assert found["label"] == "好", "sentiment is a name that labels usually have"
    assert found["fields"] == {
        "stars": 4, "why": "因为快", "n": 7, "tax": ["a", "b"], "topic": "物流",
        "aspects": ["快", "稳"], "relations": [{"from_id": "x", "to_id": "y"}],
        "box": [{"x": 1, "y": 2, "rectanglelabels": ["猫"]}], "meta": {"batch": 2},
        "url": "https://x.test",
    }  # fmt: skip
    (found,) = of_json([task("快", results)], "label_studio", label="aspects")
    assert (found["label"], found["fields"]["labels"]) == (None, ["快", "稳"])


def test_tasks_that_nobody_annotated_have_no_label() -> None:
    old = {"data": {"reviewText": "fine case", "id": "7"},
           "completions": [{"result": [choice("s", "Positive")]}]}  # fmt: skip
    none, skipped, nothing = task("a"), task("b", [choice("s", "x")]), task("c", [])
    skipped["annotations"][0]["was_cancelled"] = True
    found = of_json([old, none, skipped, nothing], "label_studio")
    assert [(r["text"], r["label"], r["spans"]) for r in found] == [
        ("fine case", "Positive", None), ("a", None, None), ("b", None, None), ("c", None, []),
    ]  # fmt: skip
    assert found[0]["fields"] == {"id": "7"}


def test_a_task_about_an_image_has_no_text() -> None:
    row = {"data": {"image": "https://x.test/1.jpg"},
           "annotations": [{"result": [choice("kind", "猫")]}]}  # fmt: skip
    (found,) = of_json([row], "label_studio")
    assert (found["text"], found["label"]) == (None, "猫")
    assert found["fields"] == {"image": "https://x.test/1.jpg"}


def test_keys_of_the_data_can_be_named() -> None:
    row = {"data": {"a": "long title of it", "b": "文", "who": "u1", "when": "2024-01-31"},
           "annotations": [{"result": [choice("x", "1"), choice("y", "2")]}]}  # fmt: skip
    (found,) = of_json([row], "label_studio", text="b", label="y", group="who", time="when")
    assert (found["text"], found["label"], found["group"]) == ("文", "2", "u1")
    assert found["time"].year == 2024
    assert found["fields"] == {"a": "long title of it", "x": "1"}


def test_offsets_of_browsers_and_of_hypertext() -> None:
    """Older versions of Label Studio count UTF-16 units; the quoted text tells."""
    old = task("💩This is an annotation.", [region(13, 23, "annotation", "A")])
    new = task("💩This is an annotation.", [region(12, 22, "annotation", "A")])
    page = task("see Paris", [region(4, 9, "Paris", "GPE", kind="hypertextlabels")])
    value = page["annotations"][0]["result"][0]["value"]
    value |= {"start": "/p[1]/text()[1]", "end": "/p[1]/text()[1]",
              "globalOffsets": {"start": 4, "end": 9}}  # fmt: skip
    found = of_json([old, new, page], "label_studio")
    assert [marked(record) for record in found] == [
        [("A", "annotation")], [("A", "annotation")], [("GPE", "Paris")],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"data": "text", "annotations": []}, "not_task"),
        ({"data": None, "annotations": []}, "not_task"),
        ({"data": {"text": "a"}, "annotations": {"x": 1}}, "not_task"),
        (task("abc", [region(1, 9, "zz", "X")]), "bad_spans"),
        ({"data": {"image": "https://x.test/1"},
          "annotations": [{"result": [region(0, 1, "a", "X")]}]}, "bad_spans"),
    ],
)  # fmt: skip
def test_tasks_that_do_not_fit_are_told(row: dict[str, Any], reason: str) -> None:
    quarantine = Quarantine()
    (good,) = of_json([row, task("fine", [])], "label_studio", quarantine)
    assert good["row"] == 2
    assert quarantine.counts == {reason: 1}


def test_json_min() -> None:
    about = {"id": 1, "annotator": 1, "annotation_id": 2, "lead_time": 3.5,
             "created_at": "2024-01-31T00:00:00Z", "updated_at": "2024-01-31"}  # fmt: skip
    rows = [
        {"text": "李雷去了北京", "sentiment": "好", "stars": [{"rating": 4}],
         "ner": [{"start": 0, "end": 2, "text": "李雷", "labels": ["人"]}], **about},
        {"text": "很一般", "sentiment": {"choices": ["好", "坏"]}, "aspects": {"choices": ["快"]},
         **about},
    ]  # fmt: skip
    chunk = raw_json(rows)
    assert layouts.detect(chunk) == "label_studio"
    first, second = records(chunk, "label_studio")
    assert (first["text"], first["label"], marked(first)) == (
        "李雷去了北京",
        "好",
        [("人", "李雷")],
    )
    assert first["fields"] == {"stars": 4}
    assert (second["text"], second["label"], second["spans"]) == ("很一般", None, None)
    assert second["fields"] == {"aspects": ["快"], "labels": ["好", "坏"]}


def test_exports_in_parquet_are_read_as_well() -> None:
    rows = [task("a", [choice("sentiment", "好")]) | {"predictions": None}]
    (found,) = records(numbered(pl.DataFrame(rows)), "label_studio")
    assert (found["text"], found["label"]) == ("a", "好")
