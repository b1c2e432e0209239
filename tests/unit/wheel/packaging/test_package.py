"""What is in a package, what is not, and when nothing is written."""

from __future__ import annotations

import configparser
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest

from feilun.core.artifacts import Model
from feilun.core.secret import SecretMissing
from feilun.store.blobs import sha256_of
from feilun.store.control import ArtifactNotFound
from feilun.wheel import references
from feilun.wheel.export import NotAModelRef, NotEmpty
from feilun.wheel.packaging import taking
from feilun.wheel.packaging.manifest import MANIFEST, DamagedPackage, Manifest, NotAPackage
from feilun.wheel.packaging.package import OtherPackage, PackageThere, _slug
from feilun.wheel.packaging.taking import take_in
from feilun.wheel.predictions import NothingLive
from feilun.wheel.project import Project
from tests.conftest import write_project

TEXTS = ["质量不错，推荐手机", "terrible phone, broke after a day"]


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """Some wheel: making the real one takes a second."""
    path = tmp_path / "feilun-9.9-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("feilun/__init__.py", "")
    return path


@pytest.fixture
def package(trained_project: Project, tmp_path: Path, wheel: Path) -> Path:
    return trained_project.package(tmp_path / "deep" / "package", wheel=wheel)


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def second_model(project: Project) -> Model:
    """Another model that is live: the same files under another digest."""
    live = project.get("model/live")
    assert isinstance(live, Model)
    other = live.model_copy(update={"validation": {"accuracy": 0.5}})
    other.__dict__.pop("digest", None)
    project.put(other)
    project.control.move_alias(
        "live", other.digest, expected=live.digest, by="me", reason='{"template": "tried"}'
    )
    return other


def test_it_holds_the_model_and_neither_data_nor_secrets(
    trained_project: Project, package: Path, wheel: Path
) -> None:
    trained_project.predict(TEXTS)
    trained_project.keys.add("mine")
    again = trained_project.package(package.parent / "again", wheel=wheel)
    files = content(again)
    model = trained_project.get("model/live")
    assert set(files) == {
        *(f"models/{model.short}/{name}" for name in model.files),
        *(name for name in files if name.startswith(f"references/{model.short}-")),
        ".dockerignore",
        "Dockerfile",
        "README.md",
        "feilun.service",
        "feilun.toml",
        "helm/Chart.yaml",
        "helm/templates/deployment.yaml",
        "helm/templates/service.yaml",
        "helm/templates/storage.yaml",
        "helm/values.yaml",
        "requirements.txt",
        f"wheels/{wheel.name}",
        MANIFEST,
    }
    assert any(name.startswith("references/") for name in files)
    pepper = (trained_project.folder / "pepper").read_bytes()
    texts = (trained_project.root / "reviews.csv").read_text(encoding="utf-8").splitlines()[1:]
    told = [text.rpartition(",")[0].strip('"').encode() for text in texts] + [pepper]
    assert len(told) > 100
    for name, written in files.items():
        assert not [one for one in told if one in written], name
    assert set(package.parent.iterdir()) == {again, package}, "nothing is left beside it"


def test_it_is_taken_in_once_and_answers_the_same(
    trained_project: Project, package: Path, tmp_path: Path
) -> None:
    wanted = [answered.shown() for answered in trained_project.predict(TEXTS, log=False)]
    state = tmp_path / "state"
    assert take_in(package, state)
    with Project.open(state) as served:
        assert served.release is not None
        assert served.release.reason == "came with a package"
        assert [one.shown() for one in served.predict(TEXTS, log=False)] == wanted
        served.predict(TEXTS)
        assert served.signals()
    assert not take_in(package, state)
    assert not (package / ".feilun").exists()


def test_force_updates_the_model_and_keeps_what_the_service_wrote(
    trained_project: Project, package: Path, wheel: Path
) -> None:
    take_in(package, package)
    first = trained_project.get("model/live")
    with Project.open(package) as served:
        served.predict(TEXTS)
        key = served.keys.add("mine")
        pepper = (served.folder / "pepper").read_bytes()
    other = second_model(trained_project)
    with pytest.raises(PackageThere, match="already"):
        trained_project.package(package, wheel=wheel)
    trained_project.package(package, force=True, wheel=wheel)
    with Project.open(package) as served:
        assert served.release is not None
        assert served.release.model == other
        assert served.events.counts()["predictions"] == len(TEXTS)
        assert served.keys.check(key)
        assert (served.folder / "pepper").read_bytes() == pepper
        assert served.rollback().model.digest == first.digest
    assert not take_in(package, package), "a restart must leave a rollback alone"
    with Project.open(package) as served:
        assert served.release is not None
        assert served.release.model.digest == first.digest
    assert [path.name for path in (package / "models").iterdir()] == [other.short]


def test_an_older_package_that_is_deployed_again_is_live_again(
    trained_project: Project, package: Path, tmp_path: Path, wheel: Path
) -> None:
    state, first = tmp_path / "state", trained_project.get("model/live")
    take_in(package, state)
    other = second_model(trained_project)
    newer = trained_project.package(tmp_path / "newer", wheel=wheel)
    for folder, digest in ((newer, other.digest), (package, first.digest)):
        assert take_in(folder, state)
        with Project.open(state) as served:
            assert served.release is not None
            assert served.release.model.digest == digest


def test_what_was_damaged_on_the_way_is_refused(package: Path, tmp_path: Path) -> None:
    weights = next(package.glob("models/*/model.safetensors"))
    sound = weights.read_bytes()
    weights.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    with pytest.raises(DamagedPackage, match=r"model\.safetensors"):
        take_in(package, tmp_path / "state")
    assert not (tmp_path / "state" / "feilun.toml").exists()
    weights.unlink()
    with pytest.raises(DamagedPackage):
        take_in(package, tmp_path / "state")
    weights.write_bytes(sound)
    manifest = package / MANIFEST
    written = json.loads(manifest.read_text(encoding="utf-8"))
    manifest.write_text(json.dumps(written | {"digest": "sha256:" + "0" * 64}))
    with pytest.raises(DamagedPackage, match=MANIFEST):
        take_in(package, tmp_path / "state")
    manifest.write_text("{")
    with pytest.raises(DamagedPackage, match=MANIFEST):
        take_in(package, tmp_path / "state")
    with pytest.raises(NotAPackage):
        take_in(tmp_path, tmp_path / "state")


def test_a_name_that_leads_out_of_the_package_is_refused(package: Path, tmp_path: Path) -> None:
    manifest = Manifest.read(package)
    name = "../../../../reviews/reviews.csv"
    outside = package / manifest.files / name
    files = {**manifest.model.files, name: sha256_of(outside)}
    model = manifest.model.model_copy(update={"files": files})
    model.__dict__.pop("digest", None)
    (package / manifest.files).rename(package / "models" / model.short)
    evil = manifest.model_copy(update={"model": model, "digest": model.digest})
    (package / MANIFEST).write_text(evil.model_dump_json(), encoding="utf-8")
    with pytest.raises(DamagedPackage, match=r"reviews\.csv"):
        take_in(package, tmp_path / "state")


def test_nothing_is_written_where_something_else_is(
    trained_project: Project, package: Path, tmp_path: Path, wheel: Path
) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("mine")
    for force in (False, True):
        with pytest.raises(NotEmpty):
            trained_project.package(full, force=force, wheel=wheel)
    assert content(full) == {"mine.txt": b"mine"}
    with pytest.raises(NotAModelRef):
        trained_project.package(tmp_path / "new", "dataset/latest", wheel=wheel)
    with pytest.raises(ArtifactNotFound):
        trained_project.package(tmp_path / "new", "model/99", wheel=wheel)
    before = content(package)
    toml = package / "feilun.toml"
    toml.write_text(toml.read_text(encoding="utf-8").replace('"reviews"', '"others"'))
    with pytest.raises(OtherPackage, match=r"others .*reviews"):
        trained_project.package(package, force=True, wheel=wheel)
    assert {**content(package), "feilun.toml": b""} == {**before, "feilun.toml": b""}
    assert not (tmp_path / "new").exists()


def test_without_a_live_model_there_is_nothing_to_package(tmp_path: Path) -> None:
    with (
        Project.open(write_project(tmp_path / "new", [("好", "a"), ("坏", "b")])) as project,
        pytest.raises(NothingLive),
    ):
        project.package(tmp_path / "package")
    assert not (tmp_path / "package").exists()


def test_settings_of_serving_come_along_and_their_secrets_are_named(
    trained_project: Project, tmp_path: Path, wheel: Path
) -> None:
    path = trained_project.root / "feilun.toml"
    more = """
[serve]
port = 8123
drain_seconds = 7.5
max_chars = 500
log.keep = "masked"
gateway = { upstreams = [] }

[[serve.notify]]
use = "webhook"
name = "hook"
url = "https://example.org/hook"
secret = "env:HOOK_SECRET"
events = ["alert.raised"]

[monitor]
window_hours = 3.0
"""
    more = more.replace("gateway = { upstreams = [] }\n", "")
    path.write_text(path.read_text(encoding="utf-8") + more, encoding="utf-8")
    with Project.open(trained_project.root) as project:
        folder = project.package(tmp_path / "package", wheel=wheel)
        wanted = project.settings
    take_in(folder, folder)
    with Project.open(folder) as served:
        assert served.settings.serve == wanted.serve
        assert served.settings.monitor == wanted.monitor
        assert served.settings.project == wanted.project
        with pytest.raises(SecretMissing):
            served.settings.serve.notify[0].secret.reveal()  # type: ignore[attr-defined]
    unit = (folder / "feilun.service").read_text(encoding="utf-8")
    assert "TimeoutStopSec=18\n" in unit
    assert "EnvironmentFile=/etc/reviews.env\n" in unit
    assert "HOOK_SECRET" in (folder / "README.md").read_text(encoding="utf-8")
    deployment = (folder / "helm/templates/deployment.yaml").read_text(encoding="utf-8")
    assert "terminationGracePeriodSeconds: 18\n" in deployment
    assert "containerPort: 8123\n" in deployment
    assert "EXPOSE 8123\n" in (folder / "Dockerfile").read_text(encoding="utf-8")


def test_the_image_is_made_without_root_or_tools(package: Path) -> None:
    lines = (package / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    steps = [line.split(None, 1) for line in lines if line and not line.startswith("#")]
    assert all(len(step) == 2 and step[0].isupper() for step in steps)
    stages = [at for at, (word, _rest) in enumerate(steps) if word == "FROM"]
    assert len(stages) == 2
    last = steps[stages[1] :]
    said = dict(last)
    assert int(said["USER"].partition(":")[0]) > 0
    assert json.loads(said["CMD"])[:2] == ["feilun", "serve"]
    assert "/healthz" in said["HEALTHCHECK"]
    assert said["VOLUME"] == "/var/lib/feilun"
    assert not any(word == "RUN" and "pip" in rest for word, rest in last)
    copied = {
        source
        for word, rest in steps
        if word == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    }
    assert copied >= {"feilun.toml", MANIFEST, "models/", "requirements.txt", "wheels/"}
    for source in copied:
        assert (package / source).exists(), source
    assert ".feilun" in (package / ".dockerignore").read_text(encoding="utf-8").splitlines()


def test_the_unit_is_hardened(package: Path) -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string((package / "feilun.service").read_text(encoding="utf-8"))
    service = unit["Service"]
    wanted = {
        "DynamicUser": "yes",
        "NoNewPrivileges": "yes",
        "ProtectSystem": "strict",
        "Restart": "on-failure",
        "StateDirectory": "reviews",
        "TimeoutStopSec": "30",
    }
    assert {name: service[name] for name in wanted} == wanted
    assert service["ExecStart"].startswith("/opt/reviews/venv/bin/feilun serve --package ")


def test_the_chart_is_yaml_with_one_replica(package: Path) -> None:
    yaml = pytest.importorskip("yaml")
    values = yaml.safe_load((package / "helm/values.yaml").read_text(encoding="utf-8"))
    chart = yaml.safe_load((package / "helm/Chart.yaml").read_text(encoding="utf-8"))
    assert chart["name"] == values["image"]["repository"] == "reviews"

    def drawn(name: str) -> dict[str, Any]:
        """The template as YAML, with conditions left out; a value that is not in values.yaml
        raises."""
        text = (package / "helm/templates" / name).read_text(encoding="utf-8")
        text = re.sub(r"^.*\{\{-.*\}\}\n", "", text, flags=re.MULTILINE)
        text = re.sub(r"^.*toYaml.*\n", "", text, flags=re.MULTILINE)
        for names in re.findall(r"\{\{ \.Values\.([\w.]+)", text):
            here = values
            for key in names.split("."):
                here = here[key]
        found: dict[str, Any] = yaml.safe_load(re.sub(r"\{\{[^}]*\}\}", "x", text))
        return found

    deployment = drawn("deployment.yaml")
    assert deployment["spec"]["replicas"] == 1
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    pod = deployment["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == 30
    assert pod["securityContext"]["runAsNonRoot"] is True
    container = pod["containers"][0]
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert drawn("service.yaml")["kind"] == "Service"
    assert drawn("storage.yaml")["kind"] == "PersistentVolumeClaim"


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("reviews", "reviews"),
        ("My Shop_2.0", "my-shop-2-0"),
        ("评论", "model"),
        ("7 days", "model-7-days"),
    ],
)
def test_a_name_becomes_one_that_kubernetes_takes(name: str, slug: str) -> None:
    assert _slug(name) == slug


def test_the_folder_of_references_is_where_monitoring_looks() -> None:
    assert taking.REFERENCES == references.FOLDER
