"""The answers as HTML: a card for each claim, with a line for every density and kind of comparison it was judged at."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape

from oneticket.claims.claim import Verdict
from oneticket.report.bar import interval_bar
from oneticket.report.judged import beside, by_claim, caveat, doubt, effect, short


def answers(verdicts: Iterable[Verdict], *, linked: bool = True) -> str:
    """A list of cards; empty for no verdicts. With `linked`, each card links to its claim's article, by `slug`.

    The verdicts on one claim share a card and the scale of their bars, so a reader can compare them.
    """
    cards = "".join(
        _card(those[0], linked=linked) if len(those) == 1 else _shared(those, linked=linked)
        for those in by_claim(verdicts)
    )
    return f'<ol class="answers">\n{cards}</ol>' if cards else ""


def mark(verdict: Verdict) -> str:
    """The CSS class of an outcome, which sets its colour."""
    return MARKS[verdict.outcome]


def said_outcome(verdict: Verdict) -> str:
    """The outcome as HTML: its words, with its sign and colour."""
    return f'<span class="outcome">{SIGNS[verdict.outcome]} {verdict.outcome}</span>'


def text(words: str) -> str:
    """The text as HTML. Numbers stay on one line with their units, and so do intervals.

    >>> text("n < 3"), text("+1.2 [−0.3, 2.7]")
    ('n\\xa0&lt;\\xa03', '+1.2 [−0.3,\\xa02.7]')
    """
    words = re.sub(r"(\[[+−]?[\d.]+,) (?=[+−]?[\d.]+\])", "\\1\N{NO-BREAK SPACE}", words)
    return escape(re.sub(r"(?<=[\dnp=<±]) (?=[%=<\d])", "\N{NO-BREAK SPACE}", words))


def slug(name: str) -> str:
    """The id of a claim or verdict in the page. Other characters than letters and digits become their code.

    >>> slug("C1 at 17 %")
    'claim-C1-20-at-20-17-20--25-'
    """
    return "claim-" + "".join(letter if letter.isalnum() else f"-{ord(letter):x}-" for letter in name)


def _card(verdict: Verdict, *, linked: bool) -> str:
    below = "".join(f'<p class="soft">{text(line)}</p>' for line in beside(verdict))
    return (
        f'<li class="{mark(verdict)}"><p>{_name(verdict, verdict.name, linked=linked)} {said_outcome(verdict)}</p>\n'
        f"<p>{text(verdict.statement)}</p>\n"
        f'<p class="{"effect" if verdict.effect else "soft"}">{text(short(verdict))}</p>'
        f"{_bar(verdict, [verdict])}{below}</li>\n"
    )


def _shared(verdicts: Sequence[Verdict], *, linked: bool) -> str:
    """A card for several verdicts on one claim: a line for each verdict, or one line if none has an effect."""
    first, outcomes = verdicts[0], {one.outcome for one in verdicts}
    alike = len(outcomes) == 1 and all(one.effect is None for one in verdicts)
    name = _name(first, first.claim, linked=linked) + (f" {said_outcome(first)}" if alike else "")
    notes = list(dict.fromkeys(short(one) for one in verdicts))
    lines = "".join(_line(one, verdicts) for one in verdicts)
    body = "".join(f'<p class="soft">{text(note)}</p>' for note in notes) if alike else f"<ul>{lines}</ul>"
    doubts = "".join(
        f'<p class="soft">{text(said)} at {text("; ".join(one.at for one in verdicts if doubt(one) == said))}.</p>'
        for said in dict.fromkeys(filter(None, map(doubt, verdicts)))
    )
    kind = mark(first) if len(outcomes) == 1 else "mixed"
    return f'<li class="shared {kind}"><p>{name}</p>\n<p>{text(first.statement)}</p>\n{body}{doubts}</li>\n'


def _line(verdict: Verdict, scale: Sequence[Verdict]) -> str:
    kind, but = "effect" if verdict.effect else "soft", text(caveat(verdict))
    return (
        f'<li class="{mark(verdict)}"><span>{text(verdict.at)}</span> '
        f"<span>{said_outcome(verdict)}{f'<small>, {but}</small>' if but else ''}</span>"
        f'<p class="{kind}">{text(short(verdict))}</p>{_bar(verdict, scale)}</li>'
    )


def _name(verdict: Verdict, name: str, *, linked: bool) -> str:
    return f'<a href="#{slug(verdict.claim)}">{text(name)}</a>' if linked else f"<b>{text(name)}</b>"


def _bar(verdict: Verdict, scale: Iterable[Verdict]) -> str:
    """The effect as a bar, on the same scale as the other effects in this metric; empty if there is no effect."""
    if verdict.effect is None:
        return ""
    margin = "" if verdict.margin is None else f"; the band is the margin of ±{verdict.metric.size(verdict.margin)}"
    beside = [one.effect for one in scale if one.effect and (one.metric, one.over) == (verdict.metric, verdict.over)]
    label = f"{effect(verdict)}; zero is marked{margin}"
    return interval_bar(verdict.effect, label=label, margin=verdict.margin, beside=beside)


MARKS = {"holds": "holds", "fails": "fails", "undecided": "undecided", "not tested": "untested"}
SIGNS = {"holds": "✓", "fails": "✗", "undecided": "?", "not tested": "–"}
