"""Places in a tree of mappings and lists, to change what stands there."""

from typing import Any


def places(tree: Any, above: tuple = ()) -> list[tuple]:
    """Return the paths of all values of a tree."""
    inside = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path for key, value in inside for path in [(*above, key), *places(value, (*above, key))]]


def at(tree: Any, path: tuple) -> Any:
    """Return the value at a path."""
    for key in path:
        tree = tree[key]
    return tree
