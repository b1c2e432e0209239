"""What a frozen encoder makes of texts: computed once, and kept for whoever goes on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from feilun.models.neural.batches import Shelf
from feilun.models.neural.encoder import Encoder

BATCH = 32
KEPT_AT_ONCE = 2_048
"""Windows in one file; what a kill costs."""


class Features:
    """Pooled vectors of windows, `[windows, width]` float32, kept in `folder` under a name that
    says which encoder read them (`digest`) and what was read."""

    def __init__(self, encoder: Encoder, digest: str, folder: Path) -> None:
        self.encoder, self.digest, self.folder = encoder.train(False), digest, folder

    def of(self, shelf: Shelf, told: Callable[[int, int], None]) -> np.ndarray:
        """The vectors of a shelf's windows, in their order; `told(done, total)` on the way."""
        order = np.argsort(shelf.windows.read, kind="stable")
        found = np.empty((len(order), self.encoder.width), dtype=np.float32)
        for at in range(0, len(order), KEPT_AT_ONCE):
            rows = order[at : at + KEPT_AT_ONCE]
            found[rows] = self._kept(shelf, rows)
            told(at + len(rows), len(order))
        return found

    def _kept(self, shelf: Shelf, rows: np.ndarray) -> np.ndarray:
        whole = hashlib.sha256(self.digest.encode())
        matrices = [
            shelf.matrix(shelf.windows.at(rows[at : at + BATCH]))
            for at in range(0, len(rows), BATCH)
        ]
        for matrix in matrices:
            whole.update(repr(matrix.ids.shape).encode() + matrix.ids.tobytes())
            whole.update(matrix.mask.tobytes())
        path = self.folder / f"features-{whole.hexdigest()[:16]}.safetensors"
        try:
            kept: np.ndarray = load_file(path)["features"]
            return kept
        except (OSError, SafetensorError, KeyError):
            pass
        with torch.no_grad():
            parts = [
                self.encoder.pooled(
                    torch.from_numpy(one.ids), torch.from_numpy(one.mask.astype(bool))
                ).numpy()
                for one in matrices
            ]
        found = np.concatenate(parts)
        partial = path.with_suffix(".partial")
        save_file({"features": found}, partial)
        partial.replace(path)
        return found
