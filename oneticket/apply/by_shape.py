"""A map by shape: which names of a ticket go to which of a model that has the same layers in the same order."""

from __future__ import annotations

from collections.abc import Mapping

Shapes = Mapping[str, tuple[int, ...]]


def by_shape(ticket: Shapes, model: Shapes) -> dict[str, str]:
    """A map to give as `names` if the model begins with the ticket's shapes in the same order; empty otherwise.

    `ticket`, `model`: name -> shape, in the order of the layers; the ticket without its output layers, which come last
    in the model. The last parts of the names (`weight`, `running_mean`) must be equal. The map is by prefixes of
    modules. Layers of equal shape in equal order probably do the same, but not surely: check the map before you use it.

    >>> theirs = {"net.0.weight": (3, 2), "net.0.bias": (3,), "net.2.weight": (5, 3)}
    >>> by_shape({"fc1.weight": (3, 2), "fc1.bias": (3,)}, theirs), by_shape({"fc1.weight": (2, 3)}, theirs)
    ({'fc1.': 'net.0.'}, {})
    """
    pairs = list(zip(ticket.items(), model.items(), strict=False))
    if not pairs or len(pairs) < len(ticket):
        return {}
    found: dict[str, str] = {}
    for (name, shape), (goal, theirs) in pairs:
        (module, _, last), (other, _, same) = name.rpartition("."), goal.rpartition(".")
        if shape != theirs or last != same:
            return {}
        key, value = (f"{module}.", f"{other}.") if module and other else (name, goal)
        if found.setdefault(key, value) != value:
            return {}
    return found
