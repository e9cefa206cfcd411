"""The site: which page of the board lies at which address."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from oneticket import report
from oneticket.board import pages, step_pages, study_pages
from oneticket.board.board import Board
from oneticket.board.elements import page, tag
from oneticket.board.gate import Answer, Request
from oneticket.ground.errors import SpecError

Page = Callable[[Board, Request], Answer | None]


def answer(board: Board, request: Request) -> Answer:
    """The page at an address, or a page that says there is none.

    A request is compared with known names; it never becomes the name of a file.
    """
    path = "/" + "/".join(request.steps)
    if path in FILES:
        content, kind = FILES[path]
        return Answer(body=content(), kind=kind)
    for pattern, made in PAGES:
        if len(pattern) == len(request.steps) and all(map(re.fullmatch, pattern, request.steps)):
            try:
                found = made(board, request)
            except SpecError as error:
                return _nothing(board, str(error), status=400)
            return found or _nothing(board, f"The store has nothing at {path}.")
    return _nothing(board, f"There is no page {path}.")


def _nothing(board: Board, why: str, *, status: int = 404) -> Answer:
    return Answer(body=page("Nothing here", tag("p", why), store=board.store.url), status=status)


def _style() -> str:
    """The report's style sheet and the board's additions to it."""
    shared = (Path(report.__file__).with_name(name) for name in ("page.css", "figures.css"))
    files = (*shared, Path(__file__).with_name("board.css"))
    return "\n".join(file.read_text("utf-8") for file in files)


def _script() -> str:
    return Path(__file__).with_name("board.js").read_text("utf-8")


KEY, ANY, NUMBER = "[0-9a-f]{64}", r"(?s:.+)", r"\d{1,3}"
PAGES: tuple[tuple[tuple[str, ...], Page], ...] = (
    ((), pages.overview),
    (("outcomes",), pages.outcomes),
    (("planned",), pages.planned),
    (("studies", ANY), study_pages.study),
    (("studies", ANY, "figures", NUMBER, NUMBER), study_pages.panel),
    (("steps", KEY), step_pages.step),
    (("compare",), step_pages.compare),
)
"""The segments of a path, and its page."""

FILES: dict[str, tuple[Callable[[], str], str]] = {
    "/board.css": (_style, "text/css; charset=utf-8"),
    "/board.js": (_script, "text/javascript; charset=utf-8"),
}
