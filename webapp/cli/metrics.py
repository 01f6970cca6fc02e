"""`appsentry query`: PromQL over all clusters, as a chart and a table, or the API's JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from federation_core.times import format_duration, format_time
from webapp.cli import EXIT_CODES, ask, moments
from webapp.cli.chart import Line, draw, number
from webapp.cli.options import Duration, Instant, asking, asking_options, instants, range_options
from webapp.cli.terminal import colours, plain, printable

#: Steps a range is cut into when none is given: readable times, about a chart's width of them.
_STEPS_MS = [s * 1000 for s in (15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 43_200, 86_400)]
_STEPS_WANTED = 160
_DRAWN = 9
_LISTED = 40
_LABEL_COLUMNS = 5


@click.command(epilog=EXIT_CODES)
@click.argument("promql")
@click.option("--at", "at_ms", type=Instant(), metavar="TIME", help="Ask for this one instant instead of a range.")
@click.option(
    "--step", "step_ms", type=Duration(), metavar="DURATION", help="Distance of the range's points.  [default: fits]"
)
@range_options
@asking_options
def query(promql: str, at_ms: int | None, step_ms: int | None, start_ms: int, end_ms: int, **options: Any) -> None:
    """Ask for metrics in PromQL, over all clusters at once.

    The label `cluster` tells where a series comes from.

    \b
    appsentry query 'sum by (cluster) (rate(http_requests_total[5m]))' --from -30m
    appsentry query 'topk(5, sum by (service) (rate(log_records_total{level="ERROR"}[5m])))' --at now
    """
    shared = asking(options)
    if at_ms is not None:
        question = shared.question("metrics", promql, time=format_time(at_ms))
    else:
        step_ms = step_ms or fitting_step_ms(end_ms - start_ms)
        # The finest that fits is not asked for by name: how often its clusters are scraped, the API knows.
        step = {} if step_ms is None else {"step": f"{step_ms}ms"}
        question = shared.question("metrics", promql, **step, **instants(start_ms, end_ms))
    ask.run(shared, question, show)


def fitting_step_ms(range_ms: int) -> int | None:
    """Return a readable step that cuts a range into as many points as a chart shows; None for the finest there is."""
    wanted_ms = range_ms / _STEPS_WANTED
    if wanted_ms <= _STEPS_MS[0]:
        return None
    return next((step_ms for step_ms in _STEPS_MS if step_ms >= wanted_ms), _STEPS_MS[-1])


def show(answer: Mapping[str, Any], console: Console) -> None:
    """Print an answer: a chart and a table for a range, a table for an instant, a line for a scalar."""
    result, kind = answer.get("result") or [], answer.get("resultType")
    if kind in ("scalar", "string"):
        console.print(plain(f"{result[1]}  at {_when(float(result[0]) * 1000)}"))
        return
    series = [(dict(row["metric"]), _samples(row)) for row in result]
    series = [(labels, samples) for labels, samples in series if samples]
    if not series:
        console.print(plain("no series: nothing matches in the clusters that answered", "yellow"))
        return
    if kind == "matrix":
        _show_matrix(series, console)
    else:
        console.print(_instant_table(series))
        _say_rest(len(series), console)
        console.print(plain(f"{_counted(len(series))} at {_when(series[0][1][0][0])}", "dim"))


Series = Sequence[tuple[dict[str, str], list[tuple[float, float]]]]


def _show_matrix(series: Series, console: Console) -> None:
    times = sorted({t for _, samples in series for t, _ in samples})
    step_ms = min((b - a for a, b in pairwise(times)), default=15_000.0)
    ranked = sorted(range(len(series)), key=lambda at: -_weight(series[at][1]))
    drawn = colours([str(at) for at in ranked[:_DRAWN]])
    lines = [Line(series[int(at)][1], colour) for at, colour in drawn.items()]
    for row in draw(lines, step_ms, min(console.width, 120)):
        console.print(row)
    console.print(_range_table(series, ranked, drawn))
    _say_rest(len(series), console)
    said = f"{_counted(len(series))} · {moments.interval(times[0], times[-1])} · step {format_duration(int(step_ms))}"
    if len(series) > _DRAWN:
        said += f" · the {_DRAWN} largest are drawn"
    console.print(plain(said, "dim"))


def _range_table(series: Series, ranked: Sequence[int], drawn: Mapping[str, str]) -> Table:
    table, names = _table([labels for labels, _ in series])
    for column in ("last", "min", "mean", "max"):
        table.add_column(column, justify="right", no_wrap=True)
    for at in ranked[:_LISTED]:
        labels, samples = series[at]
        values = [v for _, v in samples]
        finite = [v for v in values if math.isfinite(v)]
        spread = (min(finite), math.fsum(finite) / len(finite), max(finite)) if finite else (math.nan,) * 3
        mark = Text("━━ " if str(at) in drawn else "   ", style=drawn.get(str(at), ""))
        table.add_row(mark, *_cells(labels, names), *map(number, (values[-1], *spread)))
    return table


def _instant_table(series: Series) -> Table:
    table, names = _table([labels for labels, _ in series])
    table.add_column("value", justify="right", no_wrap=True)
    for labels, samples in series[:_LISTED]:
        table.add_row("", *_cells(labels, names), number(samples[0][1]))
    return table


def _table(label_sets: Sequence[Mapping[str, str]]) -> tuple[Table, list[str]]:
    """Return a table with a column per label, or one column for all where there are too many."""
    names = sorted({name for labels in label_sets for name in labels})
    if "cluster" in names:
        names = ["cluster", *(name for name in names if name != "cluster")]
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("", no_wrap=True, width=3)
    columns = names if len(names) <= _LABEL_COLUMNS else ["series"]
    for name in columns or ["series"]:
        table.add_column(printable(name), overflow="fold")
    return table, columns


def _cells(labels: Mapping[str, str], columns: Sequence[str]) -> list[Text]:
    if columns == ["series"] or not columns:
        return [plain("{" + ", ".join(f'{name}="{value}"' for name, value in sorted(labels.items())) + "}")]
    return [plain(labels.get(name, "")) for name in columns]


def _say_rest(count: int, console: Console) -> None:
    if count > _LISTED:
        console.print(plain(f"{count - _LISTED:,} more series; --json has them all", "dim"))


def _samples(row: Mapping[str, Any]) -> list[tuple[float, float]]:
    points = row["values"] if "values" in row else [row["value"]]
    return [(float(t) * 1000, float(value)) for t, value in points]


def _weight(samples: Sequence[tuple[float, float]]) -> float:
    return math.fsum(abs(v) for _, v in samples if math.isfinite(v)) / max(1, len(samples))


def _counted(count: int) -> str:
    return f"{count:,} series"


def _when(time_ms: float) -> str:
    return f"{moments.moment(time_ms)} {moments.zone(time_ms)}"
