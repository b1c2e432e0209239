"""TF-IDF + LinearSVC in FastAPI. `async def`: a thread per request would take longer than the
model."""

from __future__ import annotations

import os

import joblib
from fastapi import FastAPI
from pydantic import BaseModel

# As its documentation has it, and only what `make.py` wrote a moment ago; Feilun itself never does.
model = joblib.load(f"{os.environ['MADE']}/svm.joblib")
app = FastAPI()


class Asked(BaseModel):
    input: str


@app.post("/classify")
async def answer(asked: Asked) -> dict[str, object]:
    return {"label": str(model.predict([asked.input])[0])}
