"""Pages of systems have all that a reader needs to judge their numbers."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PARTS = (
    "Paper",
    "Coverage",
    "Results",
    "Environment",
    "Data",
    "Hyper-parameters",
    "Runs and seeds",
    "Independent checks",
    "Time and memory",
    "Negative results",
)


@pytest.mark.parametrize("system", ["byzshield", "fireplace", "ios", "value_learning"])
def test_a_system_page_has_every_part(system):
    text = (DOCS / f"{system}.md").read_text()
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert [part for part in PARTS if part not in headings] == []
    assert "| paper | here | ratio |" in text


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.stem)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([\w./-]+\.md)\)", page.read_text()):
        assert (page.parent / target).exists(), target
