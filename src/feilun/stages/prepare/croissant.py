"""A dataset in Croissant, the JSON-LD vocabulary for datasets of MLCommons.

Written after the specification of Croissant 1.0 and its RAI extension 1.0
(http://mlcommons.org/croissant/1.0, http://mlcommons.org/croissant/RAI/1.0); `mlcroissant` loads
it without an error, and without a warning where a date of publication is given.
"""

from __future__ import annotations

import hashlib
from typing import Any

from feilun.core.artifacts import SPLITS
from feilun.stages.prepare.facts import Facts, limitations, masking, step_text

CONFORMS_TO = ["http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0"]
LICENCE = "Not stated: the rights in the records are those of their sources."
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
_FIELDS = (
    ("id", "sc:Text", "16 hexadecimal digits; the same content has the same id."),
    ("text", "sc:Text", "The text as it was prepared; null where the record has none."),
    ("label", "sc:Text", "What the record is said to be; null where it is not labelled."),
    ("source", "sc:Text", "Where it was collected: a file, a table, `feedback`."),
    ("row", "sc:Integer", "Its place in the source, from 1."),
    ("group", "sc:Text", "Whom or what it belongs to; a group is never parted by a split."),
    ("time", "sc:DateTime", "When it was made, in UTC; null where the source does not say."),
    ("fields", "sc:Text", "Everything else, a JSON object; null where there is nothing."),
)
_SPANS = (
    ("start", "sc:Integer", "First character of the range, from 0."),
    ("end", "sc:Integer", "One past its last character."),
    ("label", "sc:Text", "What it is: an entity, the role of a turn."),
)
_KEY = ("key", "sc:Integer", "A hash that is equal for texts that count as the same.")
_DROPPED = (
    ("step", "sc:Text", "The step that dropped it."),
    ("reason", "sc:Text", "Why: a short code."),
    ("detail", "sc:Text", "More about it, such as the id of the record that was kept."),
)


def croissant(facts: Facts) -> dict[str, Any]:
    """The JSON-LD of the dataset: its files with their sha256, the records of all splits in the
    record set `records` (its field `split` says in which one is), and the dropped ones."""
    content = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": facts.name,
        "description": _description(facts),
        "conformsTo": CONFORMS_TO,
        "license": LICENCE,
        "citeAs": _citation(facts),
        "version": f"0.0.0+{_digest(facts)[:12]}",
        "isLiveDataset": False,
        "keywords": ["feilun", *facts.labels[:20]],
        "inLanguage": list(facts.languages),
        "distribution": [*_files(facts), *_sets(facts)],
        "recordSet": _record_sets(facts),
        **_responsible(facts),
    }
    if facts.published:
        content["datePublished"] = facts.published
    return {name: value for name, value in content.items() if value != []}


def _description(facts: Facts) -> str:
    sizes = ", ".join(f"{name} {facts.splits.get(name, 0):,}" for name in SPLITS)
    return (
        f"{facts.num_rows:,} records with {len(facts.labels)} labels ({sizes}), prepared by "
        f"Feilun from {facts.num_raw:,} collected ones."
    )


def _digest(facts: Facts) -> str:
    text = "\n".join(f"{name} {file.sha256}" for name, file in sorted(facts.files.items()))
    return hashlib.sha256(text.encode()).hexdigest()


def _citation(facts: Facts) -> str:
    # Braces would end BibTeX's fields.
    name, digest = facts.name.replace("{", "(").replace("}", ")"), _digest(facts)
    note = f"A dataset prepared by Feilun; sha256 of the list of its files: {digest}"
    return f"@misc{{feilun-{digest[:12]}, title={{{name}}}, note={{{note}}}}}"


def _files(facts: Facts) -> list[dict[str, Any]]:
    return [
        {
            "@type": "cr:FileObject",
            "@id": name,
            "name": name,
            "contentUrl": name,
            "contentSize": f"{file.size} B",
            "encodingFormat": "application/x-parquet",
            "sha256": file.sha256,
        }
        for name, file in sorted(facts.files.items())
    ]


def _sets(facts: Facts) -> list[dict[str, Any]]:
    """The files of all splits together; those of the dropped records."""
    found = []
    for name, parts in (("split-files", SPLITS), ("dropped-files", ("dropped",))):
        includes = [file for part in parts for file in facts.of(part)]
        if includes:
            found.append(
                {
                    "@type": "cr:FileSet",
                    "@id": name,
                    "name": name,
                    "encodingFormat": "application/x-parquet",
                    "includes": includes,
                }
            )
    return found


def _record_sets(facts: Facts) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {
            "@type": "cr:RecordSet",
            "@id": "splits",
            "name": "splits",
            "dataType": "cr:Split",
            "key": {"@id": "splits/name"},
            "field": [_field("splits/name", "sc:Text", "The name of the split.")],
            "data": [{"splits/name": name} for name in SPLITS],
        }
    ]
    if any(facts.of(name) for name in SPLITS):
        split = _field("records/split", "sc:Text", "The split that the record is in.")
        split["source"] = {
            "fileSet": {"@id": "split-files"},
            "extract": {"fileProperty": "fullpath"},
            # `mlcroissant` makes a glob of it for one split, and puts its values through it twice.
            "transform": {"regex": f"^({'|'.join(SPLITS)}).*$"},
        }
        split["references"] = {"field": {"@id": "splits/name"}}
        found.append(
            _records("records", "split-files", [split], [_KEY], "The records of all splits.")
        )
    if facts.of("dropped"):
        said = "What preparing left out, each with its step and reason."
        found.append(_records("dropped", "dropped-files", [], list(_DROPPED), said))
    return found


def _records(
    name: str,
    files: str,
    first: list[dict[str, Any]],
    more: list[tuple[str, str, str]],
    description: str,
) -> dict[str, Any]:
    fields = [
        _column(f"{name}/{column}", files, column, kind, text)
        for column, kind, text in (*_FIELDS, *more)
    ]
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": description,
        "field": [*first, *fields, _spans(name, files)],
    }


def _field(identity: str, kind: str, description: str) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": identity,
        "name": identity,
        "description": description,
        "dataType": kind,
    }


def _column(identity: str, files: str, column: str, kind: str, text: str) -> dict[str, Any]:
    source = {"fileSet": {"@id": files}, "extract": {"column": column}}
    return {**_field(identity, kind, text), "source": source}


def _spans(name: str, files: str) -> dict[str, Any]:
    """A list of (start, end, label), as a repeated field with a sub-field for each."""
    inner = []
    for part, kind, text in _SPANS:
        field = _column(f"{name}/spans/{part}", files, "spans", kind, text)
        inner.append({**field, "source": {**field["source"], "transform": {"jsonPath": part}}})
    return {
        "@type": "cr:Field",
        "@id": f"{name}/spans",
        "name": f"{name}/spans",
        "description": "Ranges of the text in characters: entities, or the parts of a record "
        "that has several, such as the turns of a chat.",
        "repeated": True,
        "subField": inner,
    }


def _responsible(facts: Facts) -> dict[str, Any]:
    """What the RAI extension asks for, as far as it is known."""
    steps = [step_text(step) for step in facts.steps]
    sources = ", ".join(f"{name} ({count:,})" for name, count in facts.sources.items())
    if facts.masked is None:
        personal = ["Not looked for: the step `mask` is not among the steps."]
    else:
        personal = [f"{kind}: {count:,} found" for kind, count in facts.masked.items()]
        personal += [masking(facts) if personal else "Looked for; none was found."]
    return {
        "rai:dataCollection": f"{facts.num_raw:,} records were collected"
        + (f" from {sources}." if sources else "."),
        "rai:dataPreprocessingProtocol": steps,
        "rai:personalSensitiveInformation": personal,
        "rai:dataLimitations": limitations(facts),
    }
