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
        """The line of a training, such as `level 7 · 21 % · 0.974 (dense 0.976) · 3 s`.

        `several`: whether the run has more than one replicate, which lines then name. `names`: of steps, by address.
        """
        from oneticket.ground.metric import score_of
        from oneticket.stats.words import percent
        from oneticket.study.steps import LevelStep, TransferStep, read_step

        asked, score, name = read_step(step), score_of(record), self._names.get(step.key, Called())
        if not isinstance(asked, LevelStep | TransferStep):
            return ""
        said = "not known" if score is None else f"{score:.3f}" if abs(score) < 10 else f"{score:.4g}"
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
        parts += [words, percent(float(record["density"])), f"{said}{beside}"]
        return " · ".join([*parts, *([clock.spoken(float(seconds))] if isinstance(seconds, int | float) else [])])
