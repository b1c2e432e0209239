"""The encoders of mlp, cnn and lstm: exact masks, exact graphs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tests.unit.models.neural import encoder_checks as checks

from feilun.models.neural.encoder import Encoder, Read
from feilun.models.neural.encoders import cnn, lstm, mlp

V, P = checks.VOCABULARY, checks.PAD

MADE: dict[str, tuple[Read, Callable[[], Encoder]]] = {
    "mlp": ("pooled", lambda: mlp.Mlp(mlp.Shape(V, P, 8, 12, 2, "pooled"))),
    "mlp pairs": (
        "pooled",
        lambda: mlp.Mlp(mlp.Shape(V, P, 8, 12, 1, "pooled", neighbours=3, buckets=97)),
    ),
    "mlp hashed": (
        "pooled",
        lambda: mlp.Mlp(mlp.Shape(V, P, 8, 12, 1, "pooled", True, 2, 32, activation="gelu")),
    ),
    "mlp tokens": ("states", lambda: mlp.Mlp(mlp.Shape(V, P, 8, 12, 2, "states", around=2))),
    "mlp one token": ("states", lambda: mlp.Mlp(mlp.Shape(V, P, 8, 12, 1, "states", around=0))),
    "cnn": ("pooled", lambda: cnn.Cnn(cnn.Shape(V, P, 8, 6, (2, 3, 4), 1, "pooled"))),
    "cnn wide": (
        "pooled",
        lambda: cnn.Cnn(cnn.Shape(V, P, 8, 6, (9,), 1, "pooled", activation="gelu")),
    ),
    "cnn tokens": ("states", lambda: cnn.Cnn(cnn.Shape(V, P, 8, 6, (2, 3), 4, "states"))),
    "cnn silu": (
        "states",
        lambda: cnn.Cnn(cnn.Shape(V, P, 8, 6, (1,), 1, "states", activation="silu")),
    ),
    "lstm": ("pooled", lambda: lstm.Lstm(lstm.Shape(V, P, 8, 6, 1, "pooled"))),
    "lstm deep": ("pooled", lambda: lstm.Lstm(lstm.Shape(V, P, 8, 6, 3, "embedding"))),
    "lstm tokens": ("states", lambda: lstm.Lstm(lstm.Shape(V, P, 8, 6, 2, "states"))),
}


@pytest.fixture(params=MADE)
def made(request: pytest.FixtureRequest) -> tuple[Encoder, Read]:
    torch.manual_seed(0)
    read, make = MADE[request.param]
    return make(), read


def test_company_and_padding_change_nothing(made: tuple[Encoder, Read]) -> None:
    checks.check_company_and_padding(*made)


def test_the_graph_answers_as_the_network(made: tuple[Encoder, Read]) -> None:
    checks.check_graph(*made)


def test_every_weight_is_used_and_stands_in_one_layer(made: tuple[Encoder, Read]) -> None:
    checks.check_gradient(*made)


def test_the_width_is_that_of_its_vectors(made: tuple[Encoder, Read]) -> None:
    encoder, read = made
    ids, mask = checks.batch()
    shape = (*ids.shape, encoder.width) if read == "states" else (len(ids), encoder.width)
    assert tuple(checks.answered(encoder, read, ids, mask).shape) == shape
    assert encoder.macs(40, read) > encoder.macs(20, read) > 0
    assert encoder.activations(40, read) > encoder.activations(20, read) > 0


def test_the_turned_lstm_is_the_packed_one() -> None:
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    torch.manual_seed(0)
    own = checks.stirred(lstm.Lstm(lstm.Shape(V, P, 8, 6, 1, "states")))
    both = torch.nn.LSTM(8, 6, batch_first=True, bidirectional=True)
    with torch.no_grad():
        for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"):
            getattr(both, name).copy_(getattr(own.onward[0], name))
            getattr(both, f"{name}_reverse").copy_(getattr(own.back[0], name))
        ids, mask = checks.batch()
        packed = pack_padded_sequence(
            own.words(ids), mask.sum(1), batch_first=True, enforce_sorted=False
        )
        wanted = pad_packed_sequence(both(packed)[0], batch_first=True)[0]
        found = own.states(ids, mask)
    torch.testing.assert_close(found[mask], wanted[mask], atol=1e-6, rtol=1e-5)


def test_a_text_without_a_token_breaks_nothing() -> None:
    ids, mask = torch.zeros(2, 3, dtype=torch.long), torch.zeros(2, 3, dtype=torch.bool)
    mask[0, :2] = True
    for read, make in MADE.values():
        assert bool(torch.isfinite(checks.answered(make().train(False), read, ids, mask)[0]).all())


def test_order_matters_to_neighbours_alone() -> None:
    ids = torch.tensor([[5, 6, 7, 8]])
    mask = torch.ones_like(ids, dtype=torch.bool)
    bag, pairs = MADE["mlp"][1](), MADE["mlp pairs"][1]()
    for encoder, alike in ((bag, True), (pairs, False)):
        checks.stirred(encoder)
        one = checks.answered(encoder, "pooled", ids, mask)
        other = checks.answered(encoder, "pooled", ids.flip(1), mask)
        assert torch.allclose(one, other, atol=1e-6) == alike
