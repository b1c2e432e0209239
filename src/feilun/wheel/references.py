"""The reference of a model: measured once, when it goes live, and kept beside the models."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from feilun.core.artifacts import Dataset, Model
from feilun.core.errors import FeilunError
from feilun.core.records import LEARNT_ONLY
from feilun.models import load
from feilun.stages.monitor.reference import VERSION, HeldOut, Reference, measured
from feilun.stages.prepare.language import languages
from feilun.store.disk import write_file
from feilun.tasks import task_named
from feilun.tasks.task import Input
from feilun.version import code_version

if TYPE_CHECKING:
    from feilun.wheel.project import Project

FOLDER = "references"
_AUGMENTED = "augment:"


def reference(project: Project, model: Model) -> Reference:
    """The reference of `model`: the one that was kept, or where there is none (it was deleted, is
    damaged, or of other settings) a new one, which is kept. Takes seconds when it is made: the
    model answers `held_out_texts`."""
    cached: dict[str, Reference] = project.__dict__.setdefault("_references", {})
    path = project.folder / FOLDER / f"{model.short}-{_settings(project)}.safetensors"
    if path.name not in cached:
        cached.clear()
        cached[path.name] = _kept(path) or _made(project, model, path)
    return cached[path.name]


def prepare_reference(project: Project) -> None:
    """Measures the reference of what is live, where it has none. What goes wrong is told by the
    first look that needs it: a release does not fail for it."""
    release = project.release
    if release is not None:
        with suppress(FeilunError):
            reference(project, release.model)


def _settings(project: Project) -> str:
    """The digest of all that a reference depends on beside the model."""
    stage = project.settings.monitor
    said = [
        VERSION, code_version(), stage.reference_texts, stage.held_out_texts, stage.unknown_rate,
        project.settings.project.seed, project.settings.serve.log.keep,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:8]


def _kept(path: Path) -> Reference | None:
    try:
        return Reference.read(path.read_bytes())
    except (OSError, ValueError):
        return None


def _made(project: Project, model: Model, path: Path) -> Reference:
    stage, dataset = project.settings.monitor, project.dataset_of(model)
    task = task_named(model.task)
    read = pl.col("text").is_not_null() & task.labelled()
    trained = _first(project, dataset, ("train",), stage.reference_texts).filter(read)
    source = pl.col("source").fill_null("")
    learnt = trained.filter(~source.is_in(LEARNT_ONLY) & ~source.str.starts_with(_AUGMENTED))
    trained = learnt if learnt.height else trained
    held = _first(project, dataset, ("validation", "test"), stage.held_out_texts)
    held = held.filter(read)
    inputs = task.inputs(held)
    # Not the predictor that the project keeps: the serving process has the model already.
    answers = task.answers(load(project.blobs_of(model)), inputs) if held.height else []
    counted = model.labels and [
        task.counted(answer.written) if answer.written is not None else [] for answer in answers
    ]
    written = _masked(project, dataset, [plain(given) for given in inputs])
    known = _masked(project, dataset, [plain(given) for given in task.inputs(trained)])
    made = measured(
        model.digest,
        known,
        spoken(known),
        HeldOut(
            written,
            spoken(written),
            [answer.written for answer in answers],
            counted or (),
            [answer.score for answer in answers],
            task.truth(held) if task.exclusive else (),
        ),
        stage.unknown_rate,
        project.settings.project.seed,
    )
    for old in path.parent.glob(f"{model.short}-*"):
        old.unlink(missing_ok=True)
    write_file(path, made.saved())
    return made


def masks(dataset: Dataset) -> bool:
    """Whether the dataset's steps masked personal data."""
    steps: Any = dataset.made_by.get("steps", ())
    return any(step["use"] == "mask" for step in steps)


def _masked(project: Project, dataset: Dataset, texts: list[str]) -> list[str]:
    """The texts as the log keeps those of requests: masked, where only the log masks."""
    only = project.settings.serve.log.keep == "masked" and not masks(dataset)
    return project.privacy.masked(texts) if only else texts


def _first(project: Project, dataset: Dataset, splits: tuple[str, ...], most: int) -> pl.DataFrame:
    """At most `most` records of the splits: their first. A split is in the order of hashes, so
    these are drawn at random."""
    digests = [digest for split in splits for digest in dataset.shards(split)]
    frames: list[pl.DataFrame] = []
    for digest in digests:
        frames.append(pl.scan_parquet(project.blobs.get(digest)).head(most).collect())
        if len(splits) == 1 and sum(frame.height for frame in frames) >= most:
            break
    whole = pl.concat(frames, how="diagonal")
    share = most / max(whole.height, 1)
    return whole if share >= 1 else whole.sample(most, seed=0)


def plain(given: Input) -> str:
    """An input as one text: of a pair both, a line each."""
    return given if isinstance(given, str) else "\n".join(given)


def spoken(texts: list[str]) -> list[str]:
    """The language of each text (ISO 639-1; `none` without letters)."""
    found = languages(pl.Series("text", texts, dtype=pl.String))["language"]
    return ["none" if one is None else str(one) for one in found.to_list()]
