"""A pretrained encoder: found, checked and read, before torch is asked to load anything.

An encoder is a folder as Hugging Face lays it out: `config.json`, `model.safetensors` (or
several with an index) and `tokenizer.json`. It is named by its path, or by a name on a hub,
from which those files, and no others, are fetched into the usual cache.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import Tokenizer

from feilun.core.errors import Invalid, Missing, shortened
from feilun.core.i18n import _
from feilun.models.neural import header
from feilun.models.neural.reading import Frame

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle", "*.h5", "*.msgpack")
WANTED = ["*.json", "*.safetensors", "vocab.txt", "merges.txt", "*.model"]
"""What is fetched of a name on a hub: nothing in it can run."""
DECODERS = {"qwen2", "qwen3", "llama", "mistral", "gemma", "gemma2", "gemma3_text", "phi3", "gpt2"}
SHIFTED = {"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "roberta-prelayernorm", "xmod"}
"""Types whose places begin after the padding's id, which takes that many off the length."""


class EncoderNotFound(Missing):
    """There is no such folder, and the name cannot be fetched from a hub."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(
            _("There is no encoder '{name}': {reason}.").format(
                name=shortened(name), reason=shortened(reason, 160)
            ),
            remedy=_(
                "Set [train] model.name to a folder that holds config.json, model.safetensors and "
                "tokenizer.json, or model.mirror (or HF_ENDPOINT) to a hub that can be reached."
            ),
        )


class PickledWeights(Invalid):
    """The folder holds weights only as pickle, which can run any code when it is opened."""

    def __init__(self, folder: str, files: Sequence[str]) -> None:
        super().__init__(
            _(
                "{folder} holds its weights only as {files}, a pickle: opening one can run "
                "anything. Feilun reads safetensors only."
            ).format(folder=shortened(folder), files=shortened(", ".join(files))),
            remedy=_(
                "If you trust it, convert it once on a machine you can lose: "
                'python -c "from transformers import AutoModel as A; '
                "A.from_pretrained('{folder}', use_safetensors=False)"
                ".save_pretrained('{folder}-safe')\", and copy its tokenizer files."
            ).format(folder=shortened(folder)),
        )


class ForeignCode(Invalid):
    """The encoder works only with Python code that it brings along."""

    def __init__(self, folder: str, kind: str) -> None:
        super().__init__(
            _(
                "{folder} is of the type '{kind}', which works only with code of its own; Feilun "
                "runs no code from a model (no trust_remote_code)."
            ).format(folder=shortened(folder), kind=shortened(kind)),
            remedy=_("Choose an encoder of a type that your transformers release has built in."),
        )


class EncoderUnfit(Invalid):
    """A folder is no encoder that can be used, or not as the settings have it."""

    def __init__(self, folder: str, reason: str) -> None:
        super().__init__(
            _("{folder} cannot be used as an encoder: {reason}.").format(
                folder=shortened(folder), reason=shortened(reason, 240)
            ),
            remedy=_("Choose another with [train] model.name, or fetch it again."),
        )


class Source(NamedTuple):
    """A checked encoder: where it lies, `config.json`, and how many numbers its weights hold."""

    folder: Path
    config: dict[str, Any]
    numbers: int

    @property
    def kind(self) -> str:
        """What transformers calls its type: `bert`, `qwen3`, …"""
        return str(self.config["model_type"])

    @property
    def places(self) -> int:
        """How many tokens it can read at once."""
        most = int(self.config.get("max_position_embeddings") or 1 << 20)
        if self.kind in SHIFTED:
            most -= int(self.config.get("pad_token_id") or 0) + 1
        return most

    @property
    def layers(self) -> int:
        """How many layers it has."""
        return self._number("num_hidden_layers", "n_layers", "n_layer")

    @property
    def width(self) -> int:
        """How many numbers a token's vector has."""
        return self._number("hidden_size", "dim", "n_embd", "d_model")

    @property
    def vocabulary(self) -> int:
        """How many entries its embeddings have."""
        return self._number("vocab_size")

    def _number(self, *names: str) -> int:
        for name in names:
            value = self.config.get(name)
            if isinstance(value, int) and value > 0:
                return value
        raise EncoderUnfit(
            self.folder.name, _("config.json names no {field}").format(field=names[0])
        )

    @property
    def decodes(self) -> bool:
        """Whether it was trained to go on writing: each token has read only those before it."""
        return self.kind in DECODERS or bool(self.config.get("is_decoder"))

    @property
    def runs_code(self) -> bool:
        """Whether it brings Python code along, which is never run."""
        return "auto_map" in self.config

    def digest(self) -> str:
        """Twelve hex digits over config, weights and tokenizer."""
        whole = hashlib.sha256()
        for name in ("config.json", *weight_files(self.folder), "tokenizer.json"):
            if (self.folder / name).exists():
                with (self.folder / name).open("rb") as file:
                    whole.update(hashlib.file_digest(file, "sha256").digest())
        return whole.hexdigest()[:12]


def found(name: str, root: Path, mirror: str | None = None) -> Path:
    """The folder of an encoder named by a path (against `root`, where relative) or by a name on
    a hub: at `mirror`, else at `HF_ENDPOINT`, else Hugging Face, through the usual cache and, with
    `HF_HUB_OFFLINE=1`, from that alone. Raises `EncoderNotFound`, `PickledWeights`."""
    path = root / Path(name).expanduser()
    if path.is_dir():
        return path
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise EncoderNotFound(name, _("there is no such folder"))
    from huggingface_hub import errors, snapshot_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    try:
        got = snapshot_download(name, endpoint=mirror, allow_patterns=WANTED)
    except (errors.HFValidationError, ValueError) as error:
        raise EncoderNotFound(name, _("there is no such folder, nor such a name")) from error
    except Exception as error:  # whatever the network's libraries raise
        reason = str(error.__cause__ or error).split("\n")[0]
        raise EncoderNotFound(name, f"{type(error).__name__}: {reason}") from error
    return Path(got)


def checked(folder: Path) -> Source:
    """The encoder in `folder`, after looking at everything that loading it would trust. Raises
    `EncoderUnfit`, `PickledWeights`, `HostileWeights`."""
    config = read_json(folder, "config.json")
    if not isinstance(config.get("model_type"), str):
        raise EncoderUnfit(folder.name, _("config.json names no model_type"))
    if (folder / "adapter_config.json").exists():
        # transformers would fetch the model that it names.
        raise EncoderUnfit(folder.name, _("it is an adapter of another; merge it into that first"))
    files = weight_files(folder)
    if not files:
        pickles = sorted({path.name for glob in PICKLES for path in folder.glob(glob)})
        if pickles:
            raise PickledWeights(folder.name, pickles)
        raise EncoderUnfit(folder.name, _("it holds no model.safetensors"))
    tensors = [tensor for file in files for tensor in header.tensors(folder / file).values()]
    return Source(folder, config, sum(tensor.numbers for tensor in tensors))


def weight_files(folder: Path) -> list[str]:
    """The names of the files with its weights; empty where there are none as safetensors."""
    if (folder / WEIGHTS).is_file():
        return [WEIGHTS]
    if not (folder / INDEX).is_file():
        return []
    placed = read_json(folder, INDEX).get("weight_map")
    names = sorted({str(name) for name in placed.values()}) if isinstance(placed, dict) else []
    for name in names:
        # A name such as ../../x would have another file read in its place.
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise header.HostileWeights(INDEX, _("it names '{name}'").format(name=shortened(name)))
        if not (folder / name).is_file():
            raise EncoderUnfit(folder.name, _("{file} is missing").format(file=shortened(name)))
    return names


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """A JSON object of the folder; raises `EncoderUnfit`."""
    try:
        content = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        raise EncoderUnfit(
            folder.name, _("it holds no {file} that can be read").format(file=name)
        ) from None
    if not isinstance(content, dict):
        raise EncoderUnfit(folder.name, _("it holds no {file} that can be read").format(file=name))
    return content


# The tokenizer


def tokenizer(source: Source) -> Tokenizer:
    """Its tokenizer, from `tokenizer.json` or, through transformers, from the files that came
    before it; what a user types is text, even when it spells "[SEP]". Raises `EncoderUnfit`."""
    path = source.folder / "tokenizer.json"
    try:
        if path.is_file():
            opened = Tokenizer.from_str(path.read_text(encoding="utf-8"))
        else:
            opened = _converted(source.folder)
    except BaseException as error:
        # A panic inside `tokenizers` (Rust) arrives as a BaseException of its own.
        if isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit)):
            raise
        raise EncoderUnfit(
            source.folder.name, _("it has no fast tokenizer (tokenizer.json)")
        ) from error
    opened.no_padding()
    opened.no_truncation()
    opened.encode_special_tokens = True
    return opened


def _converted(folder: Path) -> Tokenizer:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    from transformers import AutoTokenizer

    made = AutoTokenizer.from_pretrained(
        str(folder), local_files_only=True, trust_remote_code=False, use_fast=True
    )
    backend: Tokenizer = made.backend_tokenizer
    return backend


def frame(source: Source, opened: Tokenizer, prefix: str = "") -> Frame:
    """What the encoder was used to see around texts, found by encoding a text and a pair of
    them; `prefix` stands before every (first) text."""
    one = opened.encode("a")
    two = opened.encode("a", "a")
    before, _none, after = _around(one)
    _before, between, _after = _around(two)
    if not between:
        # Decoders have no such mark; a line's end is one that they know.
        between = tuple(opened.encode("\n", add_special_tokens=False).ids)
        ends = _special(source, opened, "eos")
        between = between or ((ends,) if ends is not None else ())
    told = opened.encode(prefix, add_special_tokens=False).ids if prefix else []
    pad = _special(source, opened, "pad")
    most = max(opened.get_vocab().values(), default=0)
    pad = pad if pad is not None and 0 <= pad <= most else 0
    special = {i for i, token in opened.get_added_tokens_decoder().items() if token.special}
    unknown = special | ({_unknown(opened)} - {None})
    kinds = int(source.config.get("type_vocab_size") or 0) > 1
    return Frame(
        (*before, *told),
        between,
        after,
        pad,
        frozenset(i for i in unknown if i is not None) or frozenset({pad}),
        kinds,
    )


def _around(encoding: Any) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """The special ids before, between and after the texts of an encoding."""
    whose = encoding.sequence_ids
    texts = [at for at, which in enumerate(whose) if which is not None]
    second = [at for at in texts if whose[at] == 1]
    last = max(texts, default=-1)
    first = min(texts, default=0)
    middle: tuple[int, ...] = ()
    if second:
        ends = max(at for at in texts if whose[at] == 0)
        middle = tuple(encoding.ids[ends + 1 : second[0]])
    return tuple(encoding.ids[:first]), middle, tuple(encoding.ids[last + 1 :])


def special_tokens(source: Source) -> dict[str, str]:
    """Its special tokens as `tokenizer_config.json` names them: `{"pad_token": "[PAD]", …}`."""
    path = source.folder / "tokenizer_config.json"
    told = read_json(source.folder, path.name) if path.is_file() else {}
    found = {name: value for name, value in told.items() if name.endswith("_token")}
    flat = {n: v.get("content") if isinstance(v, dict) else v for n, v in found.items()}
    return {name: value for name, value in flat.items() if isinstance(value, str)}


def _special(source: Source, opened: Tokenizer, name: str) -> int | None:
    """The id of the special token `pad`, `eos`, …: by the tokenizer's config, then by the
    model's."""
    token = special_tokens(source).get(f"{name}_token")
    at = opened.token_to_id(token) if token is not None else None
    if at is not None:
        return int(at)
    given = source.config.get(f"{name}_token_id")
    return given if isinstance(given, int) else None


def _unknown(opened: Tokenizer) -> int | None:
    """The id of the piece for what the vocabulary does not hold."""
    token = getattr(opened.model, "unk_token", None)
    if isinstance(token, str):
        return opened.token_to_id(token)
    at = json.loads(opened.to_str())["model"].get("unk_id") if not token else None
    return at if isinstance(at, int) else None
