"""ONNX Runtime in process, with no server: texts a second at the best of several batch sizes.

Tokenized beforehand, in batches of like length: the most that any server of this file can reach.
`raw_engine.py MODEL TOKENIZER TEXTS THREADS SECONDS`
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

BATCHES = (1, 4, 8, 16, 32, 64)
LONGEST, WINDOW = 128, 64


def main() -> None:
    model, tokenizer, texts = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    threads, seconds = int(sys.argv[4]), float(sys.argv[5])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    coder = Tokenizer.from_file(tokenizer)
    coder.enable_truncation(LONGEST)
    coder.no_padding()
    rows = [code.ids for code in coder.encode_batch(json.loads(texts.read_text("utf-8")))]
    # As far as 64 clients let one look ahead.
    rows = [
        row
        for begin in range(0, len(rows), WINDOW)
        for row in sorted(rows[begin : begin + WINDOW], key=len)
    ]
    speeds = {size: _speed(session, rows, size, seconds / len(BATCHES)) for size in BATCHES}
    best = max(speeds, key=lambda size: speeds[size])
    print(json.dumps({"texts_per_second": speeds[best], "batch": best, "by_batch": speeds}))


def _speed(session: object, rows: list[list[int]], size: int, seconds: float) -> float:
    names = {given.name for given in session.get_inputs()}  # type: ignore[attr-defined]
    done, at, started = 0, 0, time.perf_counter()
    while (passed := time.perf_counter() - started) < seconds:
        part = rows[at : at + size]
        at = at + size if at + 2 * size <= len(rows) else 0
        ids = np.zeros((len(part), max(map(len, part))), dtype=np.int64)
        for place, row in enumerate(part):
            ids[place, : len(row)] = row
        given = {"input_ids": ids, "attention_mask": (ids > 0).astype(np.int64)}
        if "token_type_ids" in names:
            given["token_type_ids"] = np.zeros_like(ids)
        session.run(None, given)  # type: ignore[attr-defined]
        done += len(part)
    return done / passed


if __name__ == "__main__":
    main()
