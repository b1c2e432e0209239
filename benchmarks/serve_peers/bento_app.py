"""BentoML with adaptive batching."""

import os

import bentoml


@bentoml.service(traffic={"timeout": 60})
class Classifier:
    def __init__(self) -> None:
        from transformers import pipeline

        self.classify = pipeline("text-classification", model=os.environ["NETWORK"], device="cpu")

    @bentoml.api(batchable=True, batch_dim=0, max_batch_size=32, max_latency_ms=60_000)
    def answer(self, texts: list[str]) -> list[dict]:
        return self.classify(texts, truncation=True, batch_size=32)
