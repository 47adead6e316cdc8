"""What searches reached beside each other: means, standard errors and paired tests."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from rich.table import Table
from scipy.stats import wilcoxon

from nas.tables import Array


@dataclass
class Comparison:
    """Regrets of methods on tables.

    Attributes:
        checkpoints: numbers of evaluations.
        subject: method that the others are tested against.
        regrets: (seeds, checkpoints) float64 by table and method; seeds from the first one on, in order.
        floors: (seeds,) float64 by table, regret if all were evaluated.
    """

    checkpoints: tuple[int, ...]
    subject: str
    regrets: dict[tuple[str, str], Array]
    floors: dict[str, Array]

    @property
    def methods(self) -> list[str]:
        """Those that have results, in the order given."""
        return list(dict.fromkeys(method for _, method in self.regrets))

    def figures(self) -> dict[str, dict[str, dict[str, list[float]]]]:
        """Mean and standard error by table, checkpoint and method."""
        return {
            table: {
                str(n): {m: summarise(self.regrets[table, m][:, i]) for m in self.methods}
                for i, n in enumerate(self.checkpoints)
            }
            for table in self.floors
        }

    def p_values(self) -> dict[str, dict[str, dict[str, float]]]:
        """Wilcoxon signed-rank p of each method against the subject over the seeds that both have."""
        return {
            table: {
                str(n): {
                    m: paired_p(self.regrets[table, self.subject][:, i], self.regrets[table, m][:, i])
                    for m in self.methods
                    if m != self.subject
                }
                for i, n in enumerate(self.checkpoints)
            }
            for table in self.floors
            if self.subject in self.methods
        }

    def seeds(self) -> dict[str, int]:
        """Number of seeds by method."""
        return {method: len(regrets) for (_, method), regrets in self.regrets.items()}

    def report(self) -> Table:
        """Table for people; p of the paired test in brackets."""
        table = Table(
            title="Regret of the best found, percentage points of accuracy: mean ± standard error "
            f"(p against {self.subject}, paired)"
        )
        figures, p_values, seeds = self.figures(), self.p_values(), self.seeds()
        table.add_column("")
        table.add_column("seeds", justify="right")
        for name, n in product(figures, self.checkpoints):
            table.add_column(f"{name}\n{n} evaluations", justify="right")
        for method in self.methods:
            cells = []
            for name, n in product(figures, map(str, self.checkpoints)):
                mean, error = figures[name][n][method]
                p = p_values.get(name, {}).get(n, {}).get(method)
                cells.append(f"{mean:.3f} ± {error:.3f}" + (f" ({p:.2g})" if p is not None else ""))
            table.add_row(method, str(seeds[method]), *cells)
        table.add_section()
        floors = [summarise(self.floors[name]) for name in figures for _ in self.checkpoints]
        table.add_row("all evaluated", "", *(f"{mean:.3f} ± {error:.3f}" for mean, error in floors))
        return table


def summarise(regrets: Array) -> list[float]:
    """Mean and standard error of (seeds,) regrets."""
    return [round(float(regrets.mean()), 4), round(float(regrets.std(ddof=1) / len(regrets) ** 0.5), 4)]


def paired_p(a: Array, b: Array) -> float:
    """Two-sided p of the Wilcoxon signed-rank test over the seeds that both have; 1 where they are all equal."""
    n = min(len(a), len(b))
    difference = a[:n] - b[:n]
    return float(wilcoxon(difference).pvalue) if difference.any() else 1.0
