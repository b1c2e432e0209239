"""A linear-chain conditional random field over the tags of a text, exact and batched.

Lafferty, McCallum and Pereira, Conditional Random Fields (ICML 2001); on a network's logits as
in Huang, Xu and Yu, Bidirectional LSTM-CRF Models for Sequence Tagging (2015).
"""

from __future__ import annotations

import torch
from torch import Tensor


class Crf(torch.nn.Module):
    """What a tag says about the next: scores of a whole path, not of each tag for itself.

    A path's score is the sum of its tags' logits, `start` of its first tag, `end` of its last
    and `transitions[from, to]` between neighbours; its probability is the softmax over all paths.
    All three begin at zero: at first every tag follows every other alike.
    """

    def __init__(self, tags: int) -> None:
        super().__init__()
        self.transitions = torch.nn.Parameter(torch.zeros(tags, tags))
        self.start = torch.nn.Parameter(torch.zeros(tags))
        self.end = torch.nn.Parameter(torch.zeros(tags))

    def loss(self, logits: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """−log P(target) in nats, per token that counts, over the batch.

        `logits` `[batch, tokens, tags]`, `target` whole numbers and `mask` booleans
        `[batch, tokens]`; each text needs one token that counts. Tokens that do not (padding,
        frames, the later pieces of a word) are stepped over wherever they stand, and their
        targets may be anything.
        """
        logits, mask, order = _to_the_front(logits.float(), mask)
        target = target.gather(1, order).masked_fill(~mask, 0)
        likelihood = self._score(logits, target, mask) - self._total(logits, mask)
        return -likelihood.sum() / mask.sum()

    def _score(self, logits: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """The score of each text's path `target`, `[batch]`."""
        of_tags = logits.gather(2, target[:, :, None])[:, :, 0]
        between = self.transitions[target[:, :-1], target[:, 1:]]
        last = target.gather(1, mask.sum(1, keepdim=True) - 1)[:, 0]
        inside = (of_tags * mask).sum(1) + (between * mask[:, 1:]).sum(1)
        return inside + self.start[target[:, 0]] + self.end[last]

    def _total(self, logits: Tensor, mask: Tensor) -> Tensor:
        """The log of the sum over all paths, `[batch]`: the forward algorithm, in log space."""
        reached = self.start + logits[:, 0]
        for i in range(1, logits.shape[1]):
            on = torch.logsumexp(reached[:, :, None] + self.transitions, dim=1) + logits[:, i]
            reached = torch.where(mask[:, i, None], on, reached)
        return torch.logsumexp(reached + self.end, dim=1)

    @torch.no_grad()
    def decode(self, logits: Tensor, mask: Tensor) -> Tensor:
        """The most probable path of each text (Viterbi), whole numbers `[batch, tokens]`; −1 at
        tokens that do not count. Of paths that score alike, one with the lower tags."""
        logits, mask, order = _to_the_front(logits.float(), mask)
        reached = self.start + logits[:, 0]
        same = torch.arange(logits.shape[2], device=logits.device).expand_as(reached)
        came_from = []
        for i in range(1, logits.shape[1]):
            best, origin = (reached[:, :, None] + self.transitions).max(dim=1)
            counts = mask[:, i, None]
            reached = torch.where(counts, best + logits[:, i], reached)
            came_from.append(torch.where(counts, origin, same))
        tag = (reached + self.end).argmax(dim=1, keepdim=True)
        path = [tag]
        for origin in reversed(came_from):
            tag = origin.gather(1, tag)
            path.append(tag)
        found = torch.cat(path[::-1], dim=1).masked_fill(~mask, -1)
        return torch.empty_like(found).scatter_(1, order, found)


def _to_the_front(logits: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Logits and mask with each text's tokens that count first, in their order; `order` says
    where each of them stood."""
    order = (~mask).to(torch.uint8).argsort(dim=1, stable=True)
    moved = logits.gather(1, order[:, :, None].expand_as(logits))
    return moved, mask.gather(1, order), order
