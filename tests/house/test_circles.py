"""No file of the package imports itself through others, lazily neither; `ground.door` alone may reach up."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def modules(root: Path) -> dict[str, ast.Module]:
    """The files of the package, by the names that they are imported by."""
    found = {}
    for path in sorted((root / "oneticket").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(path.read_text())
    return found


def imports(trees: Mapping[str, ast.Module]) -> dict[str, set[str]]:
    """What each file imports of the others, within functions too; what only type checkers see does not count."""
    return {name: {each for each in _named(tree, trees) if each != name} for name, tree in trees.items()}


def _named(node: ast.AST, known: Mapping[str, ast.Module]) -> set[str]:
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return {name for each in node.orelse for name in _named(each, known)}
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names} & known.keys()
    if isinstance(node, ast.ImportFrom) and node.module:
        within = {f"{node.module}.{alias.name}": alias for alias in node.names}
        return (within.keys() & known.keys()) | (
            {node.module} & known.keys() if within.keys() - known.keys() else set()
        )
    return {name for each in ast.iter_child_nodes(node) for name in _named(each, known)}


def test_no_import_circles() -> None:
    try:
        order = [*TopologicalSorter(imports(modules(ROOT))).static_order()]
    except CycleError as error:
        pytest.fail(f"these import each other: {' <- '.join(error.args[1])}")
    assert (
        order.index("oneticket.ground.canon")
        < order.index("oneticket.ticket.mask")
        < order.index("oneticket.lottery.search")
    )


def test_a_lazy_circle_is_seen_and_one_for_type_checkers_is_none(tmp_path: Path) -> None:
    room = tmp_path / "oneticket" / "room"
    room.mkdir(parents=True)
    (room / "one.py").write_text("from oneticket.room import two\n")
    (room / "two.py").write_text("def late():\n    from oneticket.room.one import x\n    return x\n")
    with pytest.raises(CycleError):
        TopologicalSorter(imports(modules(tmp_path))).prepare()
    (room / "two.py").write_text("if TYPE_CHECKING:\n    from oneticket.room.one import x\nelse:\n    import ast\n")
    TopologicalSorter(imports(modules(tmp_path))).prepare()
