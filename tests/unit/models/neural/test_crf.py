"""The CRF against the enumeration of every path."""

from __future__ import annotations

from itertools import pairwise, product

import pytest
import torch

from feilun.models.neural.crf import Crf

TAGS = 3
# Holes at the beginning, in the middle and at the end; a whole text; a text of one token.
MASK = torch.tensor(
    [[0, 1, 1, 0, 1, 0], [1, 1, 1, 1, 1, 1], [0, 0, 0, 1, 0, 0], [1, 1, 0, 0, 0, 0]],
    dtype=torch.bool,
)


@pytest.fixture
def crf() -> Crf:
    torch.manual_seed(3)
    made = Crf(TAGS)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(0, 1.5)
    return made


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.randn(len(MASK), MASK.shape[1], TAGS, generator=torch.Generator().manual_seed(5))


def paths(crf: Crf, logits: torch.Tensor, mask: torch.Tensor) -> dict[tuple[int, ...], float]:
    """The score of every path of one text, added up tag by tag."""
    kept, steps = logits[mask].tolist(), crf.transitions.tolist()
    start, end = crf.start.tolist(), crf.end.tolist()
    scores = {}
    for path in product(range(TAGS), repeat=len(kept)):
        tags = sum(kept[i][tag] for i, tag in enumerate(path))
        between = sum(steps[a][b] for a, b in pairwise(path))
        scores[path] = tags + between + start[path[0]] + end[path[-1]]
    return scores


def test_the_loss_is_that_of_the_enumeration(crf, logits):
    target = torch.randint(0, TAGS, MASK.shape, generator=torch.Generator().manual_seed(7))
    target[~MASK] = -100
    wanted = 0.0
    for row in range(len(MASK)):
        scores = paths(crf, logits[row], MASK[row])
        total = torch.tensor(list(scores.values()), dtype=torch.float64).logsumexp(0)
        wanted -= scores[tuple(target[row][MASK[row]].tolist())] - float(total)
    assert crf.loss(logits, target, MASK).item() == pytest.approx(
        wanted / int(MASK.sum()), abs=1e-5
    )


def test_the_gradient_is_that_of_finite_differences(crf, logits):
    target = torch.zeros(MASK.shape, dtype=torch.long)
    crf = crf.double()
    given = logits.double()

    def loss(transitions: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            crf.transitions.copy_(transitions)
        return crf.loss(given, target, MASK)

    loss(crf.transitions.detach().clone()).backward()
    found = crf.transitions.grad
    assert found is not None
    base, step = crf.transitions.detach().clone(), 1e-4
    for a, b in product(range(TAGS), repeat=2):
        up, down = base.clone(), base.clone()
        up[a, b] += step
        down[a, b] -= step
        slope = (loss(up) - loss(down)).item() / (2 * step)
        assert found[a, b].item() == pytest.approx(slope, abs=1e-5)


def test_viterbi_finds_the_best_of_all_paths(crf, logits):
    found = crf.decode(logits, MASK)
    assert (found[~MASK] == -1).all()
    for row in range(len(MASK)):
        scores = paths(crf, logits[row], MASK[row])
        assert tuple(found[row][MASK[row]].tolist()) == max(scores, key=scores.__getitem__)


def test_company_and_padding_change_nothing(crf, logits):
    together = crf.decode(logits, MASK)
    target = together.clamp(min=0)
    for row in range(len(MASK)):
        kept = MASK[row]
        alone = crf.decode(logits[row : row + 1, kept], kept[None, kept])
        assert alone[0].tolist() == together[row][kept].tolist()
    spoiled = logits.clone()
    spoiled[~MASK] = 1e6
    assert crf.loss(spoiled, target, MASK).item() == crf.loss(logits, target, MASK).item()


def test_a_forbidden_step_is_never_taken(crf, logits):
    with torch.no_grad():
        crf.transitions[0, 2] = -1e4
    logits = logits.clone()
    logits[:, :, 2] += 3
    logits[1, 0, 0] += 50
    found = crf.decode(logits, MASK)[1].tolist()
    assert found[0] == 0
    assert (0, 2) not in set(pairwise(found))
    assert torch.isfinite(crf.loss(logits, torch.ones_like(MASK, dtype=torch.long), MASK))


def test_it_learns_what_no_token_tells():
    """Every token looks alike: only the order of the tags can be learnt."""
    torch.manual_seed(0)
    crf = Crf(TAGS)
    target = torch.arange(9).remainder(3).expand(4, 9)
    mask = torch.ones(target.shape, dtype=torch.bool)
    logits = torch.zeros(4, 9, TAGS)
    optimizer = torch.optim.Adam(crf.parameters(), lr=0.2)
    for _step in range(60):
        optimizer.zero_grad()
        crf.loss(logits, target, mask).backward()
        optimizer.step()
    assert crf.decode(logits, mask).tolist() == target.tolist()
