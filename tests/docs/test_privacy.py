"""The privacy page is what the latest result says."""

from __future__ import annotations

from tests.privacy_page import main


def test_the_page_is_what_the_result_says() -> None:
    assert main(["--check"]) == 0, "python -m tests.privacy_page"
