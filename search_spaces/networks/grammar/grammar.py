"""The words of a family of networks: tables of genes for its settings, its blocks, and its lists of blocks.

A genome is a plain dict that JSON can hold: what the space fixes, the settings, each block as a dict, each series as a
list of dicts, and `training` (see `training` beside this file). The blocks of a series are of one kind or
of several; then each names its own under the key `kind`. What the words mean is in the family's plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from matloop.search_spaces.networks.grammar.gene import Gene, Genome, Range, Table, draw_block, pick

Arrange = Callable[[int, np.random.Generator], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Series:
    """A list of `least` to `most` blocks.

    Attributes:
        kinds: genes of each kind of block; the only kind of a series may be "", and its blocks then name none.
        least: fewest blocks.
        most: most blocks.
        usual: fewest blocks that drawing, mutating and crossing leave; only repair goes below, to save cost.
        last: kind whose blocks come after all others; "" for none.
        odds: of inserting a block of each kind; None for equal ones.
        arrange: kinds of a random series, given the most blocks; None for any length and any kinds.
    """

    kinds: Mapping[str, Table]
    least: int
    most: int
    usual: int = 0
    last: str = ""
    odds: tuple[float, ...] | None = None
    arrange: Arrange | None = None

    def table(self, block: Mapping[str, Any]) -> Table:
        """Genes of a block."""
        return self.kinds[block.get("kind", "")]

    def block(self, kind: str, rng: np.random.Generator) -> Genome:
        """A random block of a kind."""
        genes = draw_block(self.kinds[kind], rng)
        return {"kind": kind, **genes} if kind else genes

    def kind(self, rng: np.random.Generator) -> str:
        """Kind of a block to be inserted."""
        kinds = list(self.kinds)
        return kinds[0] if len(kinds) == 1 else pick(kinds, self.odds or (1.0,) * len(kinds), rng)

    def draw(self, rng: np.random.Generator) -> list[Genome]:
        """Random blocks."""
        if self.arrange is None:
            length = int(rng.integers(max(self.least, self.usual), self.most + 1))
            kinds: Sequence[str] = [self.kind(rng) for _ in range(length)]
        else:
            kinds = self.arrange(self.most, rng)
        return self.tidy([self.block(kind, rng) for kind in kinds])

    def first_of_last(self, blocks: Sequence[Mapping[str, Any]]) -> int:
        """Where the blocks begin that come last."""
        return len(blocks) - sum([block["kind"] == self.last for block in blocks]) if self.last else len(blocks)

    def tidy(self, blocks: list[Genome]) -> list[Genome]:
        """In order, and no more than `most`."""
        if self.last:
            blocks = sorted(blocks, key=lambda block: block["kind"] == self.last)
        return blocks[: self.most]


class Place(NamedTuple):
    """A block within a genome.

    Attributes:
        key: of the block or series; "" for the genome's top.
        position: in a series, else -1.
        block: the dict itself.
        table: its genes.
    """

    key: str
    position: int
    block: Genome
    table: Table

    @property
    def name(self) -> str:
        """As messages give it."""
        return self.key if self.position < 0 else f"{self.key}[{self.position}]"

    def path(self, gene: str) -> str:
        """One of its genes, as messages give it."""
        return f"{self.name}.{gene}" if self.key else gene


@dataclass(frozen=True, slots=True)
class Odds:
    """How often each kind of change is made.

    Attributes:
        insert: a block into a series.
        delete: one of a series.
        alter: a gene of a block.
        toggle: the gene `Grammar.toggle` of a block, from or to its first choice.
        setting: a setting, or a choice of the training.
        rate: a number of the training.
    """

    insert: float = 0.15
    delete: float = 0.1
    alter: float = 0.48
    toggle: float = 0.0
    setting: float = 0.17
    rate: float = 0.1


@dataclass(frozen=True, slots=True)
class Grammar:
    """The words of a family.

    Attributes:
        settings: genes at the top of the genome.
        blocks: by key, the genes of a single block.
        series: by key, lists of blocks.
        training: genes of how the network is trained.
        odds: of each kind of change.
        toggle: gene that one kind of change turns on and off; "" for none.
    """

    settings: Table
    blocks: Mapping[str, Table]
    series: Mapping[str, Series]
    training: Table
    odds: Odds = field(default_factory=Odds)
    toggle: str = ""

    @property
    def keys(self) -> list[str]:
        """What a genome has beside what the space fixes."""
        return [*self.settings, *self.blocks, *self.series, "training"]

    def draw(self, rng: np.random.Generator) -> Genome:
        """A random genome."""
        genome = draw_block(self.settings, rng)
        genome |= {key: draw_block(table, rng) for key, table in self.blocks.items()}
        genome |= {key: series.draw(rng) for key, series in self.series.items()}
        return genome | {"training": draw_block(self.training, rng)}

    def nearest(self, wish: Mapping[str, Any]) -> Genome:
        """The genome that comes closest to a wish, which need not name every gene: the usual choice stands for it."""
        genome = nearest(self.settings, wish)
        genome |= {key: nearest(table, wish.get(key, {})) for key, table in self.blocks.items()}
        for key, series in self.series.items():
            blocks = [block for block in wish.get(key, []) if block.get("kind", "") in series.kinds]
            kinds = [{"kind": block["kind"]} if "kind" in block else {} for block in blocks]
            genome[key] = [
                kind | nearest(series.table(block), block) for kind, block in zip(kinds, blocks, strict=True)
            ][: series.most]
        return genome | {"training": nearest(self.training, wish.get("training", {}))}

    def places(self, genome: Genome) -> Iterator[Place]:
        """The top of a genome, its blocks, then each block of its series; `Part.block` is their number."""
        yield Place("", -1, genome, self.settings)
        yield from self.inner(genome)

    def inner(self, genome: Genome) -> Iterator[Place]:
        """As `places`, without the top."""
        for key, table in self.blocks.items():
            yield Place(key, -1, genome[key], table)
        for key, series in self.series.items():
            for index, block in enumerate(genome[key]):
                yield Place(key, index, block, series.table(block))

    def tables(self) -> dict[str, Table]:
        """Every table by the name that a campaign file qualifies a gene with, e.g. "dense" in `dense.width`."""
        found: dict[str, Table] = {"network": self.settings, **self.blocks}
        for key, series in self.series.items():
            found |= {kind or key: table for kind, table in series.kinds.items()}
        return found | {"training": self.training}

    def having(self, tables: Mapping[str, Table]) -> Grammar:
        """The same grammar with other tables, named as `tables` names them."""
        series = {
            key: replace(one, kinds={kind: tables[kind or key] for kind in one.kinds})
            for key, one in self.series.items()
        }
        return replace(
            self,
            settings=tables["network"],
            blocks={key: tables[key] for key in self.blocks},
            series=series,
            training=tables["training"],
        )


def nearest(table: Table, wish: Mapping[str, Any]) -> Genome:
    """Values of a table's genes that come closest to those wished for."""
    return {name: gene.nearest(wish[name]) if name in wish else gene.usual for name, gene in table.items()}


def ranges(table: Table) -> list[str]:
    """Names of the genes that are numbers of a range."""
    return [name for name, gene in table.items() if isinstance(gene, Range)]


def choices(table: Table) -> dict[str, Gene]:
    """The genes that are choices."""
    return {name: gene for name, gene in table.items() if isinstance(gene, Gene)}


def everywhere(grammar: Grammar) -> Iterator[tuple[str, str, Gene | Range]]:
    """Every gene: the name of its table, its own, and what it may be."""
    return chain.from_iterable(
        ((where, name, gene) for name, gene in table.items()) for where, table in grammar.tables().items()
    )
