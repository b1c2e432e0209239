"""A transformers pipeline in FastAPI, called in the event loop: no threads contend, nobody is heard
meanwhile."""

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
async def answer(asked: Asked) -> dict[str, object]:
    found = classify(asked.input, truncation=True)[0]
    return {"label": found["label"], "score": found["score"]}
