"""Progress in a notebook: one output that is drawn anew in place; elsewhere lines, or nothing."""

from __future__ import annotations

import pytest

from oneticket.session import screen as screens
from oneticket.session.screen import MOST, CellScreen, screen

ipython = pytest.importorskip("IPython.display", reason="a notebook has IPython")


class Shown:
    """What a notebook's output shows now, and how often it was drawn."""

    def __init__(self, first: object, **options: object) -> None:
        assert options == {"display_id": True}
        self.now, self.drawn = first, 0

    def update(self, what: object) -> None:
        self.now, self.drawn = what, self.drawn + 1


@pytest.fixture
def outputs(monkeypatch: pytest.MonkeyPatch) -> list[Shown]:
    made: list[Shown] = []

    def display(what: object, **options: object) -> Shown:
        made.append(Shown(what, **options))
        return made[-1]

    monkeypatch.setattr(ipython, "display", display)
    return made


def html(shown: Shown) -> str:
    return shown.now._repr_html_()  # type: ignore[attr-defined,no-any-return]


def test_one_output_shows_how_far_the_run_is_and_ends_as_its_last_line(outputs: list[Shown]) -> None:
    cell = CellScreen(4)
    cell.line("digits: <b>10</b> classes")
    cell.update(done=1, part=0.5, now="level 1 of <script>", rest="about 3 s left")
    (shown,) = outputs
    assert '<progress max="4" value="1.50"' in html(shown)
    assert "1/4 · level 1 of &lt;script&gt; · about 3 s left" in html(shown) and "<b>10" not in html(shown)
    cell.doing("measuring this machine")
    assert "measuring this machine ..." in html(shown)
    for number in range(2 * MOST):
        cell.line(f"level {number}")
    cell.line("4 steps done in 3 s")
    cell.close()
    assert len(outputs) == 1 and "<progress" not in html(shown)
    assert "<div>4 steps done in 3 s</div>" in html(shown)
    assert html(shown).count("<br>") == MOST and f"the last {MOST}:" in html(shown)
    assert repr(shown.now).endswith(f"level {2 * MOST - 1}"), "what shows no HTML shows the lines"


def test_nothing_is_shown_where_nobody_looks_on(outputs: list[Shown], capsys: pytest.CaptureFixture[str]) -> None:
    for progress, silent in ((None, True), (False, True), (True, False)):
        with screen(progress, total=1) as shown:
            assert shown.silent is silent
            shown.line("a line")
    assert capsys.readouterr().err == "a line\n" and not outputs


def test_a_notebook_is_asked_of_the_console(outputs: list[Shown], monkeypatch: pytest.MonkeyPatch) -> None:
    console = screens.err()
    console.is_jupyter = True
    monkeypatch.setattr(screens, "err", lambda **_: console)
    with screen(None, total=1) as shown:
        assert isinstance(shown, CellScreen)
        shown.line("the end")
    assert "<div>the end</div>" in html(outputs[0])
