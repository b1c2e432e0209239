"""How much memory one real step takes, and what was told of it, each in a process of its own.

`python step_memory.py CASES FOLDER`, where CASES are a JSON list of `[family, read, rows, outputs,
settings]`, prints two numbers of bytes for each. `hub` comes alone: transformers hangs in a fork.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from tests import tiny_encoders
from tests.unit.models.neural import lessons

from feilun.core.part import find
from feilun.models.neural import heads, memory
from feilun.models.neural.network import Network
from feilun.models.neural.optimizers import optimizer_for
from feilun.models.neural.settings import Neural

if TYPE_CHECKING:
    from feilun.models.neural.encoder import Read

TOKENS, VOCABULARY = 128, 2_000
WIDE = {
    "hidden_size": 192, "num_hidden_layers": 3, "num_attention_heads": 6,
    "intermediate_size": 768, "max_position_embeddings": 130, "vocab_size": VOCABULARY,
}  # fmt: skip


def settings_of(name: str, rows: int, more: dict[str, Any], folder: Path) -> Neural:
    family = find("family", name)
    given: dict[str, Any] = {"max_length": TOKENS, "batch_size": rows, **more}
    if name != "hub":
        return cast(Neural, family(**given, size="nano")).resolved(100)
    tiny_encoders.COMMON |= WIDE
    encoder = tiny_encoders.tiny(folder / "encoder")
    hub: Any = family(**given, name=str(encoder))
    ready: Neural = hub.found(lessons.lesson("classify", 4), lessons.Bench(folder))
    return ready.resolved(100)


def taken(what: str) -> int:
    """Bytes: VmRSS now, or VmHWM the most so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(what)).split()[1]) * 1024


def measure(
    name: str, read: Read, rows: int, outputs: int, more: dict[str, Any], folder: Path
) -> None:
    settings = settings_of(name, rows, more, folder)
    vocabulary = settings.source.vocabulary if name == "hub" else VOCABULARY  # type: ignore[attr-defined]
    encoder = settings.encoder(vocabulary, 0, read)
    labels, chain = tuple(map(str, range(outputs))), bool(settings.crf)
    head: heads.Head = (
        heads.Tokens(encoder.width, labels, 0.1, crf=chain)
        if read == "states"
        else heads.Classes(encoder.width, labels, 0.1)
    )
    network = Network(encoder, head).train()
    optimizer = optimizer_for(settings, network)

    def step(rows: int, tokens: int) -> None:
        ids = torch.randint(5, 100, (rows, tokens))
        mask = torch.ones(rows, tokens, dtype=torch.bool)
        mask[0, -1] = False
        target = torch.randint(0, outputs, (rows, tokens) if read == "states" else (rows,))
        loss = network.head.loss(network(ids, mask), target, mask) / rows
        loss.backward()  # type: ignore[no-untyped-call]  # torch's
        optimizer.step()
        optimizer.zero_grad()

    step(1, 8)
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the most so far is now what it is
    before = taken("VmRSS")
    step(rows, TOKENS)
    told = memory.needed(settings, encoder, read, TOKENS, outputs=outputs).activations
    print(taken("VmHWM") - before, told, flush=True)


def main() -> None:
    # Before any thread is started: a fork has but one. Torch is imported once for all.
    torch.set_num_threads(1)
    cases = json.loads(sys.argv[1])
    if len(cases) == 1:
        measure(*cases[0], Path(sys.argv[2]))
        return
    for number, case in enumerate(cases):
        folder = Path(sys.argv[2]) / str(number)
        folder.mkdir()
        child = os.fork()
        if not child:
            measure(*case, folder)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0


if __name__ == "__main__":
    main()
