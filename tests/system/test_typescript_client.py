"""The generated TypeScript client, run by Node against a real service."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.unit.client.live_server import CUT_AFTER, Proxy, answer, listening

from feilun.service.app import create_app
from feilun.wheel.project import Project

CLIENT = Path(__file__).parent.parent.parent / "clients" / "typescript" / "feilun.js"
NODE = shutil.which("node")
OLDEST = (18, 17)

SCRIPT = """
import { Feilun, FeilunError } from CLIENT;

const [url, key] = process.argv.slice(2);
const client = new Feilun({ url, key });
const told = {};
const refusal = async (work) => {
  try {
    await work();
    return null;
  } catch (error) {
    if (!(error instanceof FeilunError)) throw error;
    const { code, status, remedy, fields } = error;
    return { code, status, remedy, fields };
  }
};

const one = await client.classify({ input: "质量不错，推荐" });
told.label = one.results[0].label;
told.several = (await client.classify({ input: ["好", "bad", "…"] })).results.map((r) => r.reason);
const said = { prediction_id: one.results[0].id, kind: "correction", value: "负面" };
told.feedback = await client.feedback(said, { idempotencyKey: "ticket-1" });
told.models = (await client.models()).data.map((model) => model.live);
told.ready = (await client.readyz()).status;
told.version = await client.version();
told.mlflow = (await client.invocations({ inputs: ["好"] })).predictions.length;

const batch = await client.createBatch('{"id": "a", "input": "好"}\\nno json\\n');
let state = batch;
for (let tries = 0; tries < 600 && ["queued", "running"].includes(state.status); tries += 1) {
  await new Promise((resolve) => setTimeout(resolve, 50));
  state = await client.batchStatus({ id: batch.id });
}
const results = (await client.batchResults({ id: batch.id })).trim().split("\\n").map(JSON.parse);
told.batch = [state.status, results.map((line) => line.error?.code ?? line.custom_id)];

told.no_key = await refusal(() => new Feilun({ url }).models());
told.fields = await refusal(() => client.feedback({ ...said, kind: "praise" }));
told.other = await refusal(() => client.tag({ input: "x" }));
told.nobody = await refusal(() => new Feilun({ url: "http://127.0.0.1:1", retries: 1 }).readyz());
const ended = AbortSignal.abort(new Error("no longer wanted"));
told.aborted = await client.readyz({ signal: ended }).catch((error) => error.message);
console.log(JSON.stringify(told));
"""
RETRY = """
import { Feilun, FeilunError } from CLIENT;

const [url, key] = process.argv.slice(2);
const started = Date.now();
const found = await new Feilun({ url, key }).classify({ input: "质量不错" });
let failed = null;
try {
  await new Feilun({ url, key, retries: 2 }).classify({ input: "质量不错" });
} catch (error) {
  failed = { code: error.code, status: error.status, seconds: error.retryAfterSeconds };
}
console.log(JSON.stringify({ id: found.results[0].id, failed, ms: Date.now() - started }));
"""


def node_version() -> tuple[int, ...]:
    if NODE is None:
        return ()
    told = subprocess.run([NODE, "--version"], capture_output=True, text=True, check=True)
    return tuple(int(part) for part in told.stdout.strip().lstrip("v").split(".")[:2])


pytestmark = pytest.mark.skipif(
    node_version() < OLDEST,
    reason=f"needs node {OLDEST[0]}.{OLDEST[1]} or newer, for fetch; .ci/run installs it",
)


def run(script: str, folder: Path, *arguments: str) -> dict[str, Any]:
    path = folder / "script.mjs"
    path.write_text(script.replace("CLIENT", json.dumps(CLIENT.as_uri())), encoding="utf-8")
    assert NODE is not None
    told = subprocess.run(
        [NODE, str(path), *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert told.returncode == 0, told.stderr
    return dict(json.loads(told.stdout))


def test_it_predicts_gives_feedback_and_tells_errors(
    trained_project: Project, tmp_path: Path
) -> None:
    key = trained_project.keys.add("node")
    with listening(create_app(trained_project)) as port:
        told = run(SCRIPT, tmp_path, f"http://127.0.0.1:{port}/", key)
    wanted = trained_project.predict(["质量不错，推荐"], log=False)[0].label
    assert told["label"] == wanted
    assert told["several"][2] == "empty"
    assert told["feedback"]["id"].startswith("fb_")
    assert told["models"] == [True]
    assert told["ready"] == "ready"
    assert told["mlflow"] == 1
    assert told["batch"] == ["completed", ["a", "malformed"]]
    assert (told["no_key"]["code"], told["no_key"]["status"]) == ("no_key", 401)
    assert told["no_key"]["remedy"] == "feilun key add NAME"
    assert told["fields"]["fields"][0]["field"] == "kind"
    assert (told["other"]["code"], told["other"]["status"]) == ("other_task", 409)
    assert (told["nobody"]["code"], told["nobody"]["status"]) == ("unreachable", 0)
    assert told["aborted"] == "no longer wanted"
    assert trained_project.events.counts()["feedback"] == 1


def test_it_tries_again_and_does_nothing_twice(trained_project: Project, tmp_path: Path) -> None:
    key = trained_project.keys.add("node")
    busy = answer(503, '{"error": {"code": "overloaded", "message": "m", "remedy": "r"}}')
    later = answer(429, '{"error": {"code": "rate_limited", "message": "m"}}', retry_after="1")
    with listening(create_app(trained_project)) as port:
        proxy = Proxy(port)
        proxy.faults[:] = [busy, CUT_AFTER, later, None, *[busy] * 3]
        told = run(RETRY, tmp_path, f"http://127.0.0.1:{proxy.port}", key)
        proxy.close()
    assert told["ms"] >= 1000  # Retry-After: 1
    assert told["failed"] == {"code": "overloaded", "status": 503, "seconds": None}
    assert proxy.connections == 4 + 3
    rows = trained_project.events.predictions(0)
    assert [row["id"] for row in rows] == [told["id"]]
