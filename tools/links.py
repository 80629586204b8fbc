"""Find links that lead nowhere, in Markdown files and in a built site.

    python -m tools.links README.md docs site

Files and headings of the project are checked; addresses of other sites are not.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

CODE = re.compile(r"^```.*?^```[^\n]*$|`[^`]*`", re.DOTALL | re.MULTILINE)
# [text](target "title"), the text perhaps an image with a link of its own.
LINK = re.compile(r"\]\(\s*<?([^\s)>]+)>?[^)]*\)")


class _Page(HTMLParser):
    """The links of an HTML page, and the places in it that a link can name."""

    def __init__(self):
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.links.append(value)
            elif name in ("id", "name") and value:
                self.anchors.add(value)


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")


def links_and_anchors(path: Path) -> tuple[list[str], set[str]]:
    """What a page links to, and the names of its places."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".html":
        page = _Page()
        page.feed(text)
        return page.links, page.anchors
    headings = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    found = [slug(h) for h in re.findall(r"^#+ +(.+?)\s*$", headings, re.MULTILINE)]
    # A heading's second appearance gets a number.
    anchors = {
        f"{s}-{found[:i].count(s)}".removesuffix("-0") for i, s in enumerate(found)
    }
    return LINK.findall(CODE.sub("", text)), anchors


def broken(path: Path) -> Iterator[str]:
    """The links of one page that lead to no file or to no place in it."""
    links, anchors = links_and_anchors(path)
    for link in links:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = path.parent / unquote(parts.path) if parts.path else path
        if not target.exists():
            yield link
        elif parts.fragment and target.suffix in (".md", ".html"):
            there = anchors if target == path else links_and_anchors(target)[1]
            if unquote(parts.fragment) not in there:
                yield link


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="+", type=Path, help="pages, or folders of them")
    status = 0
    for path in parser.parse_args().paths:
        inside = [p for p in path.rglob("*") if p.suffix in (".md", ".html")]
        for page in sorted(inside) if path.is_dir() else [path]:
            for link in broken(page):
                print(f"{page}: {link} leads nowhere")
                status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
