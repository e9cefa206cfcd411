"""The line for a finished training: its level, density, score, the dense network's score, and time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from oneticket.ground import clock
from oneticket.session.called import Called

if TYPE_CHECKING:
    from oneticket.store.step import Step


class FinishedLines:
    """Makes the lines of a run; it remembers the scores of the dense networks."""

    def __init__(self, *, several: bool, names: Mapping[str, Called] | None = None) -> None:
        self._several, self._dense, self._names = several, dict[object, str](), names or {}

    def line(self, step: Step, record: Mapping[str, Any], seconds: object) -> str:
        """The line of a training, such as `level 7 · 21 % · accuracy 97.4 % (dense 97.6 %) · 3 s`.

        `several`: whether the run has more than one replicate, which lines then name. `names`: of steps, by address.
        """
        from oneticket.stats.words import percent
        from oneticket.study.steps import LevelStep, TransferStep, read_step
        from oneticket.ticket import describe

        asked, name = read_step(step), self._names.get(step.key, Called())
        if not isinstance(asked, LevelStep | TransferStep):
            return ""
        said, metric = describe.score(record) or "not known", describe.sound_metric(record)
        named = f"{metric.words} " if metric is not None and metric.share else ""
        if isinstance(asked, LevelStep):
            group, dense, words = (step.needs[0].key, asked.replicate), asked.number == 0, f"level {asked.number}"
        else:
            group, dense = (asked.spec.model_dump_json(), asked.replicate), asked.arm == "dense"
            level = getattr(asked.source, "level", None)
            arm = name.arm or asked.arm
            words = arm if dense or level is None else f"{arm} · level {level}"
        if dense:
            self._dense[group] = said
        beside = f" (dense {self._dense[group]})" if group in self._dense and not dense else ""
        parts = [f"replicate {asked.replicate}"] * self._several + [name.place] * bool(name.place)
        parts += [words, percent(float(record["density"])), f"{named}{said}{beside}"]
        return " · ".join([*parts, *([clock.spoken(float(seconds))] if isinstance(seconds, int | float) else [])])
