"""The project's pages: their code blocks, links and headings."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^\n]+) -->\n)?"
    r"^```(?P<language>[a-z+]*)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page; `reason` says why it cannot run, where it cannot."""

    page: str
    line: int
    language: str
    code: str
    reason: str | None = None

    @property
    def name(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """All pages that a person reads, by path."""
    top = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
    beside = (ROOT / "examples" / "README.md", ROOT / "clients" / "python" / "README.md")
    found = [*(ROOT / name for name in top), *beside, *(ROOT / "docs").rglob("*.md")]
    return sorted(path for path in found if path.is_file())


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text()
    return [
        Block(
            name_of(page),
            text.count("\n", 0, match.start("code")),
            match["language"],
            match["code"],
            match["reason"],
        )
        for match in _FENCE.finditer(text)
    ]


def prose_of(page: Path) -> str:
    """A page without its code."""
    return re.sub(r"`[^`\n]+`", "", _FENCE.sub("", page.read_text()))


def links_of(page: Path) -> list[str]:
    """Where the relative links of a page lead."""
    found = _LINK.findall(prose_of(page))
    return [link for link in found if not re.match(r"[a-z]+:", link)]


def anchors_of(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and MkDocs make them."""
    headings = _HEADING.findall(_FENCE.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands_of(block: Block) -> Iterator[str]:
    """The commands of a console block, each on a line of its own."""
    for line in block.code.replace("\\\n", " ").splitlines():
        without_comment = re.sub(r"(^|\s)#.*", "", line)
        for command in re.split(r"&&|;", without_comment):
            command = re.sub(r"\s(>|&|\|).*", "", command + " ").strip()
            if command:
                yield command
