"""A dashboard for Grafana, which draws what `/metrics` tells."""

from __future__ import annotations

from pathlib import Path

FILE = Path(__file__).with_name("feilun-grafana.json")


def dashboard() -> str:
    """The dashboard as JSON, as Grafana imports it; it asks for its Prometheus source."""
    return FILE.read_text(encoding="utf-8")
