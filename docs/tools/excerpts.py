"""Search results show excerpts also where the site is opened from a disk: browsers do not fetch files from there.

The text of every page lies in `_static/pages.js`, which the search page loads only then.
"""

from __future__ import annotations

import json
from pathlib import Path

from sphinx.application import Sphinx


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("html-page-context", _search_page)
    app.connect("build-finished", _write)


def _search_page(app: Sphinx, name: str, *_: object) -> None:
    """The script stands on the search page alone."""
    if name == "search":
        app.add_js_file("excerpts.js")


def _write(app: Sphinx, error: Exception | None) -> None:
    if error or app.builder.format != "html":
        return
    folder, pages = Path(app.outdir), {}
    for name in sorted(app.env.found_docs):
        page = (folder / f"{name}.html").read_text("utf-8")
        pages[f"{name}.html"] = page[page.index("<article ") : page.rindex("</article>")]
    (folder / "_static" / "pages.js").write_text(f"window.PAGES = {json.dumps(pages)};\n", "utf-8")
