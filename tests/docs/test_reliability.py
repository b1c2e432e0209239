"""docs/reliability.md is what `make reliability` wrote, whole."""

from __future__ import annotations

from tests.evidence import PAGE, ROWS


def test_every_row_has_its_figure_and_its_control() -> None:
    sections = PAGE.read_text(encoding="utf-8").split("\n## ")[1:]
    assert [section.partition("\n")[0] for section in sections] == [
        row.fault for row in ROWS.values()
    ]
    for section in sections:
        lines = [line for line in section.splitlines() if line.startswith("- ")]
        controls = [line for line in lines if line.startswith("- *Control:*")]
        assert controls, section
        assert len(lines) > len(controls), section
