"""Documents are records as a whole, PDFs page by page."""

from __future__ import annotations

from pathlib import Path

import pypdf
import pytest
from pypdf.generic import DictionaryObject, NameObject, StreamObject

from feilun.stages.collect import reading
from feilun.stages.collect.reading import FileMissing, Limits, UnreadableFile
from feilun.stages.collect.source import Quarantine
from tests.unit.stages.collect.collected import rows, told


def pdf(pages: list[str], path: Path, password: str | None = None) -> None:
    """A PDF with a line of text on each page; an empty page for an empty line."""
    writer = pypdf.PdfWriter()
    for line in pages:
        page = writer.add_blank_page(300, 300)
        font = DictionaryObject(
            {
                NameObject("/Type"): NameObject("/Font"),
                NameObject("/Subtype"): NameObject("/Type1"),
                NameObject("/BaseFont"): NameObject("/Helvetica"),
            }
        )
        fonts = DictionaryObject({NameObject("/F1"): writer._add_object(font)})
        page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
        if line:
            stream = StreamObject()
            stream.set_data(f"BT /F1 12 Tf 20 200 Td ({line}) Tj ET".encode())
            page[NameObject("/Contents")] = writer._add_object(stream)
    if password is not None:
        writer.encrypt(password, algorithm="RC4-128")
    writer.write(path)


def test_a_page_is_a_record_and_one_without_text_is_told(tmp_path: Path) -> None:
    pdf(["The first page.", "", "The third page."], tmp_path / "a.pdf")
    quarantine = Quarantine()
    frames = reading.read(tmp_path / "a.pdf", "pdf", "auto", quarantine, "a.pdf")
    assert rows(frames) == [
        {"text": "The first page.", "_row": 1},
        {"text": "The third page.", "_row": 3},
    ]
    assert told(quarantine) == [(2, "no_text")]


def test_a_page_that_cannot_be_read_costs_itself(tmp_path: Path) -> None:
    pdf(["The first page.", "The second page."], tmp_path / "a.pdf")
    content = (tmp_path / "a.pdf").read_bytes()
    (tmp_path / "a.pdf").write_bytes(content.replace(b"/Contents 6 0 R", b"/Contents 999 0"))
    quarantine = Quarantine()
    frames = reading.read(tmp_path / "a.pdf", "pdf", "auto", quarantine, "a.pdf")
    found = [row["_row"] for row in rows(frames)]
    assert sorted(found + [row for row, _reason in told(quarantine)]) == [1, 2]


@pytest.mark.parametrize("content", [b"", b"%PDF-1.7 and no more", b"\0" * 100])
def test_a_file_that_is_no_pdf_is_told(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(content)
    with pytest.raises(UnreadableFile, match=r"a\.pdf cannot be read as pdf: \w"):
        list(reading.read(tmp_path / "a.pdf", "pdf", "auto", Quarantine(), "a.pdf"))
    with pytest.raises(FileMissing):
        list(reading.read(tmp_path / "gone.pdf", "pdf", "auto", Quarantine(), "gone.pdf"))


def test_a_pdf_with_a_password_is_told(tmp_path: Path) -> None:
    pdf(["secret"], tmp_path / "a.pdf", password="open sesame")
    with pytest.raises(UnreadableFile, match="it is encrypted"):
        list(reading.read(tmp_path / "a.pdf", "pdf", "auto", Quarantine(), "a.pdf"))
    pdf(["not secret"], tmp_path / "b.pdf", password="")
    frames = reading.read(tmp_path / "b.pdf", "pdf", "auto", Quarantine(), "b.pdf")
    assert rows(frames) == [{"text": "not secret", "_row": 1}]


@pytest.mark.parametrize("form", ["markdown", "html", "document"])
def test_a_document_is_one_record_with_its_markup(form: str, tmp_path: Path) -> None:
    text = "# 标题\n\n<p>第一段\r\n</p>\n"
    for encoding in ("utf-8", "gb18030", "utf-16"):
        path = tmp_path / f"{encoding}.x"
        path.write_bytes(text.encode(encoding))
        frames = reading.read(path, form, "auto", Quarantine(), "x")
        assert rows(frames) == [{"text": text, "_row": 1}]


def test_what_is_too_long_or_no_text_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    for content, reason in ((b"x" * 2000, "too_long"), (b"a\0b", "not_text"), (b"", None)):
        path.write_bytes(content)
        quarantine = Quarantine()
        frames = reading.read(path, "markdown", "auto", quarantine, "a.md", limits=Limits(1000))
        assert list(frames) == []
        assert told(quarantine) == ([(1, reason)] if reason else [])
