"""What is asked of every encoder, and a toy task that none may fail."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import torch

from feilun.models.neural.encoder import Encoder, Read
from feilun.models.neural.graph import Graph

VOCABULARY, PAD = 60, 0


def batch(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Texts of 1 to 12 tokens, padded at their ends."""
    random = torch.Generator().manual_seed(seed)
    lengths = torch.tensor([1, 2, 3, 12, 7, 5, 12, 2])
    ids = torch.randint(1, VOCABULARY, (len(lengths), 12), generator=random)
    mask = torch.arange(12)[None, :] < lengths[:, None]
    return ids.masked_fill(~mask, PAD), mask


def stirred(encoder: Encoder) -> Encoder:
    """The same with weights large enough for differences to show, its biases among them."""
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=random) * 0.4)
    return encoder.train(False)


def answered(encoder: Encoder, read: Read, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return encoder.states(ids, mask) if read == "states" else encoder.pooled(ids, mask)


def drawn(encoder: Encoder, read: Read) -> ort.InferenceSession:
    graph = Graph(encoder)
    shape = ["batch", "tokens", encoder.width] if read == "states" else ["batch", encoder.width]
    model = graph.finished(encoder.draw(graph, read), "found", shape)
    onnx.checker.check_model(model, full_check=True)
    written = model.SerializeToString(deterministic=True)
    return ort.InferenceSession(written, providers=["CPUExecutionProvider"])


def check_company_and_padding(encoder: Encoder, read: Read) -> None:
    """A text alone, in company, and with other ids in its padding: the same."""
    ids, mask = batch()
    together = answered(stirred(encoder), read, ids, mask)
    spoiled = ids.masked_fill(~mask, 7)
    other = answered(encoder, read, spoiled, mask)
    for row, length in enumerate(mask.sum(1).tolist()):
        alone = answered(encoder, read, ids[row : row + 1, :length], mask[row : row + 1, :length])
        for found in (together, other):
            kept = found[row, :length] if read == "states" else found[row]
            torch.testing.assert_close(kept, alone[0], atol=2e-6, rtol=1e-5)


def check_graph(encoder: Encoder, read: Read) -> None:
    """ONNX Runtime's answer is torch's, whatever the batch's shape."""
    session = drawn(stirred(encoder), read)
    whole, there = batch(3)
    for rows, length in ((slice(None), 12), (slice(0, 1), 1), (slice(4, 6), 7)):
        ids, mask = whole[rows, :length], there[rows, :length]
        given = {"input_ids": ids.numpy(), "attention_mask": mask.numpy().astype(np.int64)}
        found = torch.from_numpy(session.run(["found"], given)[0])
        wanted = answered(encoder, read, ids, mask)
        if read == "states":
            found, wanted = found[mask], wanted[mask]
        assert float((found - wanted).abs().max()) < 1e-4
        assert float(wanted.abs().max()) > 0.01


def check_gradient(encoder: Encoder, read: Read) -> None:
    """Every weight is used, in training mode too, and belongs to one layer."""
    ids, mask = batch()
    encoder.train(True)
    found = encoder.states(ids, mask)[mask] if read == "states" else encoder.pooled(ids, mask)
    found.square().sum().backward()
    own = list(encoder.parameters())
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in own)
    grouped = [id(parameter) for group in encoder.groups() for parameter in group]
    assert sorted(grouped) == sorted(map(id, own))
