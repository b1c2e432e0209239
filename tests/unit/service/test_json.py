"""What is answered is JSON, whatever is in it."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from feilun.service.errors import json_bytes


@pytest.mark.parametrize(
    "content", [{"NaN": "Infinity"}, ["好", 1e-7, 1e300, 0.1 + 0.2, None, True], {"a": (1, 2)}]
)
def test_it_is_read_as_it_was(content: Any) -> None:
    assert json.loads(json_bytes(content)) == json.loads(json.dumps(content))


def test_half_a_character_is_replaced() -> None:
    assert json.loads(json_bytes({"a": "\ud800好"})) == {"a": "?好"}


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_refused(number: float) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        json_bytes({"score": number})
