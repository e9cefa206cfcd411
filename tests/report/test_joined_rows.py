"""Rows of a divided study come together from several files; files that contradict each other are refused."""

from __future__ import annotations

from pathlib import Path

import forked
import pytest

from oneticket.ground.errors import SpecError
from oneticket.report.export import join_rows, write_rows
from oneticket.study.rows import COLUMNS

ROW = {
    **dict.fromkeys(COLUMNS),
    "part": "p",
    "model": "mlp",
    "source_data": "a",
    "target_data": "b",
    "target_optimizer": "sgd",
    "arm": "ticket",
    "level": 1,
    "density": 0.8,
    "metric": "accuracy",
    "better": "higher",
    "seed": 0,
    "lr": 0.1,
    "budget": "1it",
}
ROWS = [{**ROW, "replicate": number, "score": 0.1234567890123 + number, "key": f"k{number}"} for number in range(4)]
PAGE = Path(__file__).parents[2] / "results" / "page.py"


@pytest.mark.parametrize("endings", [(".csv", ".csv"), (".json", ".parquet"), (".parquet", ".csv")])
def test_each_network_stands_once(endings: tuple[str, str], tmp_path: Path) -> None:
    files = [tmp_path / f"{number}{ending}" for number, ending in enumerate(endings)]
    write_rows(ROWS[:3], files[0])
    again = {**ROWS[2], "seconds": 3.0, "threads": 2}  # how it was computed is no part of what it is
    write_rows([again, ROWS[3]], files[1])
    joined = join_rows(files)
    assert [row["key"] for row in joined] == ["k0", "k1", "k2", "k3"]
    assert joined[2]["seconds"] is None, "the first file's"
    assert [row["score"] for row in joined] == pytest.approx([row["score"] for row in ROWS])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"score": 0.9}, "replicates 1 and 1, that differ in score: 1.1234567890123, 0.9"),
        ({"key": "other"}, "replicates 1 and 1, that differ in key: k1, other"),
        ({"replicate": 7, "lr": 0.2}, "two of p, mlp, ticket, a, b, sgd, 1, replicates 0 and 7, that differ in lr"),
        ({"replicate": 7, "seed": 1}, "differ in seed: 0, 1"),
    ],
)
def test_files_that_contradict_each_other_are_refused(change: dict[str, object], said: str, tmp_path: Path) -> None:
    one, other = tmp_path / "one.csv", tmp_path / "other.csv"
    write_rows(ROWS[:2], one)
    write_rows([{**ROWS[1], **change}], other)
    with pytest.raises(SpecError) as refused:
        join_rows([one, other])
    assert said in str(refused.value) and str(refused.value).startswith(f"{one}, {other}: expected rows of one study")
    made = forked.run(PAGE, "p", one, other, cwd=tmp_path)
    assert (made.returncode, said in made.stderr, (tmp_path / "results").exists()) == (1, True, False), made.stderr
