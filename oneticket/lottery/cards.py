"""Notebook cards of a search in the user's own loop, and of one of its levels."""

from __future__ import annotations

from oneticket.ground.card import Card
from oneticket.lottery.level import Level
from oneticket.lottery.loop_search import Search
from oneticket.ticket.cards import density, layers, levels, own_scores


def of_search(search: Search) -> Card:
    """How far it is, and how its finished levels did."""
    done = search.records
    reached = f"done down to level {done[-1]['level']} of {search.levels}" if done else "none done yet"
    over = bool(done) and done[-1]["level"] == search.levels
    facts = [("levels", reached), *(() if over else density(search.weight_counts))]
    if not done:
        return Card(title="Search", facts=facts, parts=[layers(search.mask)])
    found = levels([record["density"] for record in done], done, first=done[0]["level"])
    return Card(title="Search", facts=facts, parts=[found])


def of_level(level: Level) -> Card:
    """How sparse it is, how many steps it made, and what was recorded of it."""
    facts = [
        ("state", "over" if level.over else "open" if level.attached else "open; no optimizer is attached"),
        *density(level.weight_counts),
        ("steps", f"{level.steps:,}, from step {level.start:,} of the schedule"),
        *own_scores(level.scores),
    ]
    return Card(title=f"Level {level.number}", facts=facts, parts=[layers(level.mask)])
