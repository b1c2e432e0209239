"""From which confidence on a model may answer, so that a stated risk is kept.

Conformal risk control (Angelopoulos, Bates, Fisch, Lei and Schuster, Conformal Risk Control,
ICLR 2024): of n records that are exchangeable with those to come, the smallest threshold λ with
(n·R̂(λ) + 1) / (n + 1) ≤ α, R̂ the mean loss on them, keeps the expected loss of the next one at
or below α. The loss here is 1 where an answer is given and does harm, else 0; it falls as λ
rises, which is all that the theorem asks for.
"""

from __future__ import annotations

import math

import numpy as np

ALWAYS, NEVER = -math.inf, math.inf
_ROUNDING = 1e-9


def threshold(confidence: np.ndarray, harm: np.ndarray, risk: float) -> float:
    """The least λ such that answering where the confidence is above λ keeps the expected share
    of harmful answers, among all records, at or below `risk`.

    `confidence` float `[records]` (NaN: it does not answer at all), `harm` bool `[records]`:
    whether an answer to the record does harm. `ALWAYS` where every answer may be given, `NEVER`
    where so few records cannot show so small a risk: 1 / risk − 1 are needed at the least.
    """
    allowed = math.floor(risk * (len(confidence) + 1) + _ROUNDING) - 1
    if allowed < 0:
        return NEVER
    harmful = confidence[harm & ~np.isnan(confidence)]
    if len(harmful) <= allowed:
        return ALWAYS
    return float(np.sort(harmful)[::-1][allowed])
