"""The page of the log's privacy."""

from __future__ import annotations

from feilun.console import pages
from feilun.console.privacy import PrivacyPage
from feilun.wheel.project import Project


def test_the_page_shows_how_texts_are_kept_and_the_receipts(trained_project: Project) -> None:
    def shown() -> str:
        answer = pages.page(PrivacyPage(), "/console/privacy", trained_project)
        return bytes(answer.body).decode()

    assert "vault" in shown()
    assert "Nobody was erased yet." in shown()
    trained_project.predict(["好"], subject="ada-4711")
    receipt = trained_project.erase("ada-4711")
    assert receipt.id in shown()
    assert "ada-4711" not in shown()
