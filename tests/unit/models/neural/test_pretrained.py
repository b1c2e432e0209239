"""Finding an encoder, and refusing what must not be opened."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.tiny_encoders import DECODERS, tiny

from feilun.models.neural import pretrained
from feilun.models.neural.header import HostileWeights
from feilun.models.neural.pretrained import (
    EncoderNotFound,
    EncoderUnfit,
    ForeignCode,
    PickledWeights,
)

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def bert(tmp_path_factory) -> Path:
    return tiny(tmp_path_factory.mktemp("bert"))


@pytest.fixture
def copy(bert, tmp_path) -> Path:
    return Path(shutil.copytree(bert, tmp_path / "encoder"))


def change(folder: Path, **more: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **more}))


def opened(folder: Path):
    from feilun.models.neural.encoders.hub import opened

    return opened(pretrained.checked(folder))


# A folder


def test_a_folder_is_checked_and_opened(bert):
    source = pretrained.checked(bert)
    assert (source.kind, source.layers, source.width, source.places) == ("bert", 2, 32, 66)
    body = opened(bert)
    assert source.numbers >= sum(p.numel() for p in body.parameters())
    assert not body.training


def test_the_path_may_be_relative_to_the_project(bert):
    assert pretrained.found(bert.name, bert.parent) == bert


def test_a_digest_is_of_the_content(bert, copy):
    before = pretrained.checked(bert).digest()
    assert pretrained.checked(copy).digest() == before
    change(copy, hidden_dropout_prob=0.3)
    assert pretrained.checked(copy).digest() != before


@pytest.mark.parametrize("name", ["pytorch_model.bin", "weights.pt", "model.ckpt"])
def test_a_pickle_alone_is_refused_with_the_way_out(copy, name):
    (copy / "model.safetensors").rename(copy / name)
    with pytest.raises(PickledWeights, match=name) as caught:
        pretrained.checked(copy)
    assert "save_pretrained" in str(caught.value.remedy)


def test_a_pickle_beside_safetensors_is_not_opened(copy):
    (copy / "pytorch_model.bin").write_bytes(b"\x80\x04cos\nsystem\n(S'false'\ntR.")
    assert opened(copy).config.hidden_size == 32


def test_a_lying_header_is_refused_before_loading(copy):
    weights = copy / "model.safetensors"
    weights.write_bytes(struct.pack("<Q", 2**50) + weights.read_bytes()[8:])
    with pytest.raises(HostileWeights):
        pretrained.checked(copy)


def test_an_index_may_not_point_outside(copy):
    (copy / "model.safetensors").unlink()
    index = {"weight_map": {"a": "../bert/model.safetensors"}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(HostileWeights, match=r"\.\./bert"):
        pretrained.checked(copy)


def test_weights_in_several_files(bert, tmp_path):
    from safetensors.numpy import load_file, save_file

    folder = Path(shutil.copytree(bert, tmp_path / "split"))
    whole = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(whole)
    parts = {"a.safetensors": names[:10], "b.safetensors": names[10:]}
    for file, held in parts.items():
        save_file({n: whole[n] for n in held}, folder / file, metadata={"format": "pt"})
    placed = {name: file for file, held in parts.items() for name in held}
    index = {"metadata": {}, "weight_map": placed}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    first, second = opened(folder).state_dict(), opened(bert).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in second)
    (folder / "b.safetensors").unlink()
    with pytest.raises(EncoderUnfit, match=r"b\.safetensors"):
        pretrained.checked(folder)


def test_code_that_a_known_type_brings_is_not_run(copy, tmp_path):
    mark = tmp_path / "ran"
    (copy / "evil.py").write_text(
        f"open({str(mark)!r}, 'w')\nclass Config: pass\nclass Model: pass"
    )
    change(copy, auto_map={"AutoConfig": "evil.Config", "AutoModel": "evil.Model"})
    assert pretrained.checked(copy).runs_code
    assert type(opened(copy)).__name__ == "BertModel"
    assert not mark.exists()


def test_a_type_that_is_only_code_is_refused(copy, tmp_path):
    mark = tmp_path / "ran"
    (copy / "evil.py").write_text(
        f"open({str(mark)!r}, 'w')\nclass Config: pass\nclass Model: pass"
    )
    change(copy, model_type="evil", auto_map={"AutoConfig": "evil.Config"})
    with pytest.raises(ForeignCode, match="evil"):
        opened(copy)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"model_type": "nosuch"}, "nosuch"),
        ({"model_type": 3}, "model_type"),
        ({"model_type": "t5"}, "encoder"),
        ({"hidden_size": 2**24}, "."),
        ({"vocab_size": 10**12}, "weights"),
        ({"num_hidden_layers": 10**9}, "layers"),
        ({"num_hidden_layers": 3}, "missing"),
        ({"hidden_size": 36}, "."),
        (
            {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}},
            "quantised",
        ),
    ],
)
def test_a_config_that_does_not_fit_is_refused(copy, changed, told):
    change(copy, **changed)
    with pytest.raises(EncoderUnfit, match=told):
        opened(copy)


def test_an_adapter_alone_is_refused(copy):
    (copy / "adapter_config.json").write_text('{"base_model_name_or_path": "some/model"}')
    with pytest.raises(EncoderUnfit, match="adapter"):
        pretrained.checked(copy)


@pytest.mark.parametrize("content", ["", "[", "[]", "[" * 100_000])
def test_a_config_that_cannot_be_read(copy, content):
    (copy / "config.json").write_text(content)
    with pytest.raises(EncoderUnfit, match=r"config\.json"):
        pretrained.checked(copy)


def test_an_empty_folder(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(EncoderUnfit, match=r"model\.safetensors"):
        pretrained.checked(tmp_path)


def test_no_or_a_broken_tokenizer(copy):
    (copy / "tokenizer.json").write_text('{"version": "1.0"}')
    with pytest.raises(EncoderUnfit, match=r"tokenizer\.json"):
        pretrained.tokenizer(pretrained.checked(copy))


def test_a_tokenizer_from_before_tokenizer_json(copy):
    from tests.tiny_encoders import vocabulary

    wanted = pretrained.tokenizer(pretrained.checked(copy)).encode("good 房间 x").ids
    (copy / "tokenizer.json").unlink()
    (copy / "vocab.txt").write_text("\n".join(vocabulary()), encoding="utf-8")
    (copy / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    assert pretrained.tokenizer(pretrained.checked(copy)).encode("good 房间 x").ids == wanted


# What stands around texts


def test_the_frame_is_what_the_tokenizer_puts_around(bert):
    source = pretrained.checked(bert)
    frame = pretrained.frame(source, pretrained.tokenizer(source))
    assert (frame.before, frame.between, frame.after, frame.pad) == ((2,), (3,), (3,), 0)
    assert frame.kinds
    assert {0, 1, 2, 3, 4} <= frame.unknown


def test_a_prefix_stands_before_every_text(bert):
    source = pretrained.checked(bert)
    tokenizer = pretrained.tokenizer(source)
    frame = pretrained.frame(source, tokenizer, "good ")
    assert frame.before == (2, tokenizer.token_to_id("good"))


@pytest.mark.parametrize("kind", DECODERS)
def test_a_decoder_has_no_frame(tmp_path, kind):
    source = pretrained.checked(tiny(tmp_path, kind))
    assert source.decodes
    frame = pretrained.frame(source, pretrained.tokenizer(source))
    assert (frame.before, frame.after) == ((), ())


def test_roberta_reads_fewer_tokens_than_it_has_places(tmp_path):
    assert pretrained.checked(tiny(tmp_path, "roberta")).places == 65


# A hub


class Hub(BaseHTTPRequestHandler):
    """Answers as a hub does for one repository; counts what is asked."""

    folder: Path
    asked: list[str]

    def log_message(self, *_args: object) -> None: ...

    def do_HEAD(self) -> None:
        self._answer(head=True)

    def do_GET(self) -> None:
        self._answer(head=False)

    def _answer(self, head: bool) -> None:
        self.asked.append(self.path)
        path, commit = self.path.split("?")[0], "a" * 40
        if path.startswith("/api/models/team/bert/"):
            names = sorted(one.name for one in self.folder.iterdir())
            if "/tree/" in path:
                sizes = {name: (self.folder / name).stat().st_size for name in names}
                self._send(json.dumps([
                    {"type": "file", "path": name, "size": size, "oid": "b" * 40}
                    for name, size in sizes.items()
                ]).encode(), head)  # fmt: skip
            else:
                told = {"id": "team/bert", "sha": commit, "siblings": [
                    {"rfilename": name} for name in names
                ]}  # fmt: skip
                self._send(json.dumps(told).encode(), head)
        elif path.startswith("/team/bert/resolve/"):
            data = (self.folder / path.rpartition("/")[2]).read_bytes()
            self._send(data, head, commit)
        else:
            self.send_error(404)

    def _send(self, data: bytes, head: bool, commit: str = "") -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        if commit:
            self.send_header("X-Repo-Commit", commit)
        self.end_headers()
        if not head:
            self.wfile.write(data)


@pytest.fixture
def mirror(copy, tmp_path, monkeypatch):
    from huggingface_hub import constants

    (copy / "pytorch_model.bin").write_bytes(b"pickle")
    (copy / "evil.py").write_text("raise SystemExit")
    for name in ("HF_HUB_CACHE", "HF_XET_CACHE"):
        monkeypatch.setattr(constants, name, str(tmp_path / "cache"), raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    handler = type("Serving", (Hub,), {"folder": copy, "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", handler.asked
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_name_is_fetched_from_a_mirror_without_pickle_and_code(mirror, tmp_path, monkeypatch):
    address, asked = mirror
    folder = pretrained.found("team/bert", tmp_path, address)
    assert pretrained.checked(folder).kind == "bert"
    names = {path.name for path in folder.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
    assert not {"pytorch_model.bin", "evil.py"} & names
    assert not any("evil" in path or ".bin" in path for path in asked)


def test_without_a_network_the_cache_is_enough_or_the_way_out_is_told(
    mirror, tmp_path, monkeypatch
):
    from huggingface_hub import constants

    address, _asked = mirror
    folder = pretrained.found("team/bert", tmp_path, address)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert pretrained.found("team/bert", tmp_path, address) == folder
    with pytest.raises(EncoderNotFound, match="team/other") as caught:
        pretrained.found("team/other", tmp_path, address)
    assert "mirror" in str(caught.value.remedy)
    assert "config.json" in str(caught.value.remedy)


def test_a_hub_that_does_not_answer(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(EncoderNotFound) as caught:
        pretrained.found("team/bert", tmp_path, "http://127.0.0.1:9")
    assert "HF_ENDPOINT" in str(caught.value.remedy)


@pytest.mark.parametrize("name", ["./none", "/none/at/all", "a/b/c", "no such: name"])
def test_neither_a_folder_nor_a_name(tmp_path, name):
    with pytest.raises(EncoderNotFound):
        pretrained.found(name, tmp_path)
