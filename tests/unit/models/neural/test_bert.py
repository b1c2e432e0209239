"""BERT's encoder: the first token's short way through the last layer, its dropout."""

from __future__ import annotations

import pytest
import torch
from tests.unit.models.neural import encoder_checks as checks

from feilun.models.neural.dropping import DRAWN, dropped
from feilun.models.neural.encoders.bert import Bert, Shape


def bert(dropout: float = 0.0) -> Bert:
    torch.manual_seed(0)
    made = Bert(Shape(checks.VOCABULARY, checks.PAD, 16, 2, 4, 12, dropout=dropout))
    checks.stirred(made)
    return made


@pytest.mark.parametrize("padded", [True, False])
def test_the_first_token_is_the_same_by_its_short_way(padded: bool) -> None:
    made = bert().double()
    ids, mask = checks.batch()
    if not padded:
        ids, mask = ids[3:4], mask[3:4]
    found = made.pooled(ids, mask)
    found.sin().sum().backward()
    short = {name: p.grad.clone() for name, p in made.named_parameters() if p.grad is not None}
    made.zero_grad()
    wanted = torch.tanh(made.pooler(made.states(ids, mask)[:, 0]))
    torch.testing.assert_close(found, wanted, atol=1e-12, rtol=1e-10)
    wanted.sin().sum().backward()
    assert short
    for name, parameter in made.named_parameters():
        torch.testing.assert_close(short[name], parameter.grad, atol=1e-12, rtol=1e-8)


@pytest.mark.parametrize("read", ["states", "pooled"])
def test_company_padding_graph_and_gradient(read: checks.Read) -> None:
    checks.check_company_and_padding(bert(), read)
    checks.check_graph(bert(), read)


def test_every_weight_is_used_and_stands_in_one_layer() -> None:
    made = bert()
    ids, mask = checks.batch()
    made.pooled(ids, mask).square().sum().backward()
    unused = {name for name, p in made.named_parameters() if p.grad is None or not p.grad.any()}
    assert unused == set()
    grouped = [id(parameter) for group in made.groups() for parameter in group]
    assert sorted(grouped) == sorted(map(id, made.parameters()))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_that_share_is_dropped_and_the_rest_is_larger(share: float) -> None:
    torch.manual_seed(3)
    x = torch.ones(501, 999, requires_grad=True)
    found = dropped(x, share, training=True)
    gone = float((found == 0).double().mean())
    assert gone == pytest.approx(share, abs=4 * (share * (1 - share) / x.numel()) ** 0.5)
    kept = found[found != 0]
    exact = round(share * DRAWN) / DRAWN
    assert torch.equal(kept, torch.full_like(kept, 1 / (1 - exact)))
    # Neither rows nor columns, nor neighbours that share a draw, go together.
    zero = (found == 0).double()
    for axis in (0, 1):
        spread = float(zero.mean(axis).var())
        assert spread == pytest.approx(share * (1 - share) / zero.shape[axis], rel=0.3)
    for far in range(1, 5):
        flat = zero.flatten()
        both = float((flat[far:] * flat[:-far]).mean())
        assert both == pytest.approx(share**2, abs=5e-3)
    found.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, found)


def test_what_is_dropped_goes_by_the_seed_alone() -> None:
    x = torch.randn(70, 300)
    before = torch.get_num_threads()
    made = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        torch.manual_seed(4)
        made.append((dropped(x, 0.3, True), dropped(x, 0.3, True)))
    torch.set_num_threads(before)
    assert torch.equal(made[0][0], made[1][0])
    assert torch.equal(made[0][1], made[1][1])
    assert not torch.equal(made[0][0], made[0][1])


def test_nothing_is_dropped_where_nothing_is_to_be() -> None:
    x = torch.randn(3, 5)
    assert dropped(x, 0.4, training=False) is x
    assert dropped(x, 0.0, training=True) is x
    assert not dropped(x, 1.0, training=True).any()
