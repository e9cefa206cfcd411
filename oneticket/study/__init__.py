"""Floor 6: what is asked for, as specs, cells and steps. For users, `run`: a study from Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oneticket.session.study import StudyRun as StudyRun
    from oneticket.session.study import run as run


def __getattr__(name: str) -> object:
    if name not in ("run", "StudyRun"):
        raise AttributeError(f"module 'oneticket.study' has no attribute {name!r}; it has run")
    from oneticket.ground.door import door
    from oneticket.ground.extras import naming_extras

    with naming_extras():
        return door(f"session.study:{name}")
