"""Requests and answers as MLflow's scoring server has them, for clients that speak to one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from feilun.core.i18n import N_, _
from feilun.service.errors import InvalidFields
from feilun.service.shapes import Asked, whole
from feilun.tasks.task import Input

FORMS = ("inputs", "instances", "dataframe_split", "dataframe_records")
_TEXT = {"type": "string"}
_ROW = {"type": "object", "additionalProperties": _TEXT, "minProperties": 1}
_PAIR = {"type": "array", "items": _TEXT, "minItems": 2, "maxItems": 2}
_ROWS = {"type": "array", "minItems": 1, "items": {"anyOf": [_TEXT, _PAIR, _ROW]}}
_COLUMN = {"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1}]}
_COLUMNS = {"type": "object", "additionalProperties": _COLUMN, "minProperties": 1}
_SPLIT = {
    "type": "object",
    "required": ["data"],
    "additionalProperties": False,
    "properties": {
        "columns": {"type": "array", "items": _TEXT},
        "index": {"type": "array"},
        "data": {"type": "array", "minItems": 1, "items": {"type": "array", "items": _TEXT}},
    },
}


def _schema(schema: dict[str, Any], description: str) -> WithJsonSchema:
    return WithJsonSchema({**schema, "description": description})


class InvocationsRequest(Asked):
    """One table of inputs in one of MLflow's four forms. Its column is `text`; of pairs `first`
    and `second`."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": [form]} for form in FORMS],
            "examples": [
                {"inputs": ["物流很快，包装也好"]},
                {"dataframe_split": {"columns": ["text"], "data": [["物流很快，包装也好"]]}},
                {"dataframe_records": [{"text": "物流很快，包装也好"}]},
                {"instances": [{"text": "物流很快，包装也好"}]},
            ],
        }
    )

    inputs: Annotated[
        Any,
        _schema({"anyOf": [_TEXT, _ROWS, _COLUMNS]}, N_("texts, rows, or columns by name")),
    ] = None
    instances: Annotated[Any, _schema(_ROWS, N_("texts, or rows"))] = None
    dataframe_split: Annotated[Any, _schema(_SPLIT, N_("a table as pandas' `split` writes it"))] = (
        None
    )
    dataframe_records: Annotated[
        Any,
        _schema(
            {"type": "array", "items": _ROW, "minItems": 1},
            N_("a table as pandas' `records` writes it"),
        ),
    ] = None
    params: dict[str, Any] | None = Field(None, description=N_("taken and not used"))

    @model_validator(mode="after")
    def _one_form(self) -> InvocationsRequest:
        if len([form for form in FORMS if getattr(self, form) is not None]) != 1:
            raise PydanticCustomError("one_form", "exactly one of {forms}", {"forms": _listed()})
        return self

    def rows(self, pairs: bool) -> list[Input]:
        """The inputs, in their order; `pairs`: two texts each. Raises `InvalidFields`."""
        form = next(form for form in FORMS if getattr(self, form) is not None)
        given = getattr(self, form)
        if form == "dataframe_split":
            table = _from_split(given)
        elif form == "inputs" and isinstance(given, dict):
            table = _from_columns(given)
        else:
            table = [given] if form == "inputs" and isinstance(given, str) else given
        if not isinstance(table, list) or not table:
            raise _unusable(form, _("must be a table of at least one row"))
        return [_input(row, pairs, f"{form}[{at}]") for at, row in enumerate(table)]


class InvocationsAnswer(BaseModel):
    """`predictions` are what MLflow's scoring server answers for the exported model: a record
    per input, with lists and tables written as JSON. The other fields are ours."""

    predictions: list[dict[str, Any]] = Field(
        examples=[[{"label": "正面", "score": 0.93, "scores": '{"正面": 0.93}', "reason": None}]]
    )
    id: str = Field(description=N_("this request"), examples=["r_01a200d5f685b9b78d809ab"])
    model: str = Field(
        description=N_("the digest of the model that answered"), examples=["sha256:8f9…"]
    )
    prediction_ids: list[str] = Field(description=N_("what feedback refers to, one per record"))


def in_mlflow_shape(answered: Mapping[str, Any]) -> dict[str, Any]:
    """An answer of the task's own route as `InvocationsAnswer`."""
    return {
        "predictions": [
            {name: _cell(value) for name, value in one.items() if name != "id"}
            for one in answered["results"]
        ],
        "id": answered["id"],
        "model": answered["model"],
        "prediction_ids": [one["id"] for one in answered["results"]],
    }


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value


def _from_split(given: Any) -> list[Any]:
    """Rows by the names of their columns, or as they are where columns have no names."""
    known = {"columns", "data", "index"}
    if not isinstance(given, dict) or "data" not in given or given.keys() - known:
        raise _unusable("dataframe_split", _("must hold `data`, and may hold `columns`, `index`"))
    columns, data = given.get("columns"), given["data"]
    if not isinstance(data, list) or not all(isinstance(row, list) for row in data):
        raise _unusable("dataframe_split", _("`data` must be a list of rows"))
    if columns is None:
        return [row[0] if len(row) == 1 else row for row in data]
    if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
        raise _unusable("dataframe_split", _("`columns` must be a list of names"))
    if any(len(row) != len(columns) for row in data):
        raise _unusable("dataframe_split", _("every row must have as many cells as columns"))
    return [dict(zip(columns, row, strict=True)) for row in data]


def _from_columns(given: Mapping[str, Any]) -> list[Any]:
    columns = {name: cells if isinstance(cells, list) else [cells] for name, cells in given.items()}
    if len({len(cells) for cells in columns.values()}) != 1:
        raise _unusable("inputs", _("every column must have as many cells as the others"))
    names = list(columns)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _input(row: Any, pairs: bool, place: str) -> Input:
    wanted = ("first", "second") if pairs else ("text",)
    if isinstance(row, dict):
        if any(name not in row for name in wanted):
            raise _unusable(
                place, _("must have the column(s) {names}").format(names=_names(wanted))
            )
        cells: Sequence[Any] = [row[name] for name in wanted]
    elif pairs:
        cells = row if isinstance(row, list) else [row]
    else:
        cells = [row]
    if len(cells) != len(wanted) or not all(isinstance(cell, str) for cell in cells):
        raise _unusable(place, _("must be two texts") if pairs else _("must be text"))
    texts = [str(whole(cell)) for cell in cells]
    return (texts[0], texts[1]) if pairs else texts[0]


def _unusable(place: str, reason: str) -> InvalidFields:
    return InvalidFields([{"field": place, "message": reason}], 1)


def _names(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _listed() -> str:
    return ", ".join(FORMS)
