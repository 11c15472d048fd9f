"""How near are an order of reading and the structure of a table to the true ones? Three measures from the field.

All give 1 for what is right throughout. What the text itself says is measured in `quality`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.quality import distance
from platoon.documents.page import Table


def kendall(ranks: Sequence[int]) -> float:
    """Kendall's tau of things that stand in this order of their true ranks, all different, scaled to 0 to 1.

    That is the share of pairs in the right order (Lapata, "Automatic Evaluation of Information Ordering", 2006, has
    it from -1 to 1). What stands alone is in order.
    """
    given = np.asarray(ranks)
    right = sum(int((given[number + 1 :] > rank).sum()) for number, rank in enumerate(given))
    pairs = len(given) * (len(given) - 1) // 2
    return right / pairs if pairs else 1.0


def followed(ranks: Sequence[int]) -> float:
    """The share of things that stand in this order right after the one that is truly before them.

    It counts jumps, of which a reader notices each; to Kendall's tau a short one is next to nothing.
    """
    given = np.asarray(ranks)
    return float((np.diff(given) == 1).mean()) if len(given) > 1 else 1.0


class Node(NamedTuple):
    """Of a table as a tree: the table, its rows, their cells."""

    kind: tuple[str, int, int]
    """Its tag, and how many rows and columns it spans."""
    text: str
    children: tuple[Node, ...] = ()

    @property
    def size(self) -> int:
        """Nodes of the tree."""
        return 1 + sum(child.size for child in self.children)


def tree(table: Table) -> Node:
    """The table as its HTML nests it."""
    rows = (
        Node(
            ("tr", 1, 1),
            "",
            tuple(Node(("td", cell.rows, cell.columns), cell.text) for cell in table.cells if cell.row == row),
        )
        for row in range(table.rows)
    )
    return Node(("table", 1, 1), "", tuple(rows))


def teds(found: Table | None, true: Table, *, text: bool = True) -> float:
    """Similarity by tree edit distance (Zhong et al., "Image-based table recognition", ECCV 2020): 0 to 1.

    A node that is missing, too many, or of another tag or span costs 1, and a cell its share of wrong characters.

    Args:
        text: whether characters count; without them it is TEDS-Struct.
    """
    if found is None:
        return 0.0
    one, other = tree(found), tree(true)
    return 1 - _tree_distance(one, other, text) / max(one.size, other.size)


def _tree_distance(one: Node, other: Node, text: bool) -> float:
    """By the algorithm of Zhang and Shasha ("Simple Fast Algorithms for the Editing Distance between Trees", 1989)."""
    a, b = _Numbered(one), _Numbered(other)
    between = np.zeros((len(a.nodes), len(b.nodes)))
    """Of the trees that end with these nodes."""
    for i in a.roots:
        for j in b.roots:
            first_i, first_j = a.first[i], b.first[j]
            forests = np.zeros((i - first_i + 2, j - first_j + 2))
            forests[:, 0] = np.arange(len(forests))
            forests[0] = np.arange(len(forests[0]))
            for x in range(first_i, i + 1):
                for y in range(first_j, j + 1):
                    row, column = x - first_i + 1, y - first_j + 1
                    whole = a.first[x] == first_i and b.first[y] == first_j
                    if whole:
                        change = forests[row - 1, column - 1] + _cost(a.nodes[x], b.nodes[y], text)
                    else:
                        change = forests[a.first[x] - first_i, b.first[y] - first_j] + between[x, y]
                    forests[row, column] = min(forests[row - 1, column] + 1, forests[row, column - 1] + 1, change)
                    if whole:
                        between[x, y] = forests[row, column]
    return float(between[-1, -1])


class _Numbered:
    """The nodes of a tree, children before their parent."""

    def __init__(self, root: Node) -> None:
        self.nodes: list[Node] = []
        self.first: list[int] = []
        """Of the nodes below each, or itself: the number of the leftmost."""
        self._add(root)
        self.roots = sorted({first: number for number, first in enumerate(self.first)}.values())
        """The last node of each leftmost leaf: the whole, and whoever has a sister on its left."""

    def _add(self, node: Node) -> None:
        first = len(self.nodes)
        for child in node.children:
            self._add(child)
        self.nodes.append(node)
        self.first.append(first)


def _cost(one: Node, other: Node, text: bool) -> float:
    """Of making one node the other."""
    if one.kind != other.kind:
        return 1.0
    return distance(one.text, other.text) / max(1, len(one.text), len(other.text)) if text else 0.0
