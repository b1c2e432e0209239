"""fastText in FastAPI. `async def`: a thread per request would take longer than the model."""

from __future__ import annotations

import os

import fasttext
from fastapi import FastAPI
from pydantic import BaseModel

model = fasttext.load_model(f"{os.environ['MADE']}/fasttext.bin")
app = FastAPI()


class Asked(BaseModel):
    input: str


@app.post("/classify")
async def answer(asked: Asked) -> dict[str, object]:
    labels, scores = model.predict(" ".join(asked.input.split()))
    return {"label": labels[0].removeprefix("__label__"), "score": float(scores[0])}
