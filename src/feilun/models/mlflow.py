"""What MLflow loads: a model folder as a `python_function`. MLflow itself is not imported."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feilun.models.folder import load, read_card, read_task
from feilun.tasks import Task, jsonable
from feilun.tasks.task import Input

if TYPE_CHECKING:
    import pandas as pd

LOADER = "feilun.models.mlflow"


class PythonFunction:
    """A model as MLflow asks it."""

    def __init__(self, folder: Path) -> None:
        self._task = read_task(read_card(folder))
        self._model = load(folder)

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """A row per input. `model_input` is a table with the column `text` (`first` and `second`
        for `match`), or a list of texts (of pairs)."""
        import pandas as pd

        found = [
            jsonable(answer)
            for answer in self._task.answers(self._model, self._inputs(model_input))
        ]
        return pd.DataFrame(
            {name: [_cell(row[name]) for row in found] for name in (found[0] if found else ())}
        )

    def _inputs(self, given: Any) -> Sequence[Input]:
        if not hasattr(given, "columns"):
            return [tuple(one) if isinstance(one, list) else one for one in given]
        if self._task.use == "match":
            return list(zip(given["first"], given["second"], strict=True))
        return list(given["text"] if "text" in given.columns else given.iloc[:, 0])


def _load_pyfunc(path: str) -> PythonFunction:
    """What MLflow calls."""
    return PythonFunction(Path(path))


def signature(task: Task) -> dict[str, str]:
    """MLflow's signature of the task's inputs: JSON in JSON, as MLflow writes it."""
    columns = ["first", "second"] if task.use == "match" else ["text"]
    inputs = [{"type": "string", "name": name, "required": True} for name in columns]
    return {"inputs": json.dumps(inputs)}


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value
