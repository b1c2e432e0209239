"""LitServe with batching."""

from __future__ import annotations

import os
import sys

import litserve


class Classifier(litserve.LitAPI):
    def setup(self, device: str) -> None:
        from transformers import pipeline

        self.classify = pipeline("text-classification", model=os.environ["NETWORK"], device="cpu")

    def decode_request(self, request: dict) -> str:
        return request["input"]

    def predict(self, texts: list[str]) -> list[dict]:
        return self.classify(texts, truncation=True, batch_size=32)

    def encode_response(self, output: dict) -> dict:
        return output


if __name__ == "__main__":
    api = Classifier(max_batch_size=32, batch_timeout=0.005)
    litserve.LitServer(api, accelerator="cpu", timeout=60).run(
        host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning"
    )
