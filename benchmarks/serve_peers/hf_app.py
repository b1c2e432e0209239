"""A transformers pipeline in FastAPI; blocking calls go into `def`, as FastAPI's docs say."""

from __future__ import annotations

import os

from fastapi import FastAPI
from pydantic import BaseModel
from transformers import pipeline

classify = pipeline("text-classification", model=os.environ["NETWORK"], device="cpu")
app = FastAPI()


class Asked(BaseModel):
    input: str


@app.post("/classify")
def answer(asked: Asked) -> dict[str, object]:
    found = classify(asked.input, truncation=True)[0]
    return {"label": found["label"], "score": found["score"]}
