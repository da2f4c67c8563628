"""The pages of docs/ as tests read them: their blocks, and the commands in these."""

import re
import shlex
from dataclasses import dataclass

import toy

DOCS = toy.ROOT / "docs"
PAGES = sorted(path.stem for path in DOCS.glob("*.md"))
MAKEFILE = (toy.ROOT / "Makefile").read_text()
FENCE = re.compile(r"(?:<!-- (.*?) -->\n)?```(\w+)(?: title=\"(.*?)\")?\n(.*?)^```$", re.M | re.S)


@dataclass
class Block:
    """A fenced block; ``remark``: the comment before it."""

    remark: str
    language: str
    title: str
    text: str

    @property
    def reason(self):
        """Why it does not run; empty when it does."""
        return self.remark.removeprefix("not run: ") if self.remark.startswith("not run") else ""


def read(page):
    return (DOCS / f"{page}.md").read_text()


def anchors(page):
    """The anchors of a page's headings."""
    titles = re.findall(r"^#+ (.*)$", read(page), re.M)
    plain = (re.sub(r"[^\w\s-]", "", title).strip().lower() for title in titles)
    return {re.sub(r"[-\s]+", "-", title) for title in plain}


def blocks(page):
    found = [
        Block(*(part or "" for part in match.groups())) for match in FENCE.finditer(read(page))
    ]
    assert len(found) == read(page).count("\n```") / 2, page
    return found


def commands(text):
    """The simple commands of a shell script, as words."""
    text = re.sub(r"<<'?EOF'?\n.*?^EOF$", "", text, flags=re.M | re.S).replace("\\\n", " ")
    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        while words:
            end = words.index("&&") if "&&" in words else len(words)
            yield words[:end]
            words = words[end + 1 :]
