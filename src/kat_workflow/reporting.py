"""Reports to look at: one HTML page that holds everything it shows, with plots.

The plots are drawn by matplotlib (the extra `reports`); the same numbers give the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from kat_workflow.errors import KatError

__all__ = ["NoPlots", "Page"]

Points = Sequence[tuple[float, float]]
"""What is plotted: x and y."""
Columns = Sequence[tuple[str, float]]
"""What is plotted over words."""

_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
h1{font-size:1.6rem}h2{margin-top:2.2rem;border-bottom:1px solid #ccc}h3{margin-bottom:.3rem}
table{border-collapse:collapse;margin:.6rem 0}td,th{padding:.15rem .7rem;text-align:left}
td.number{text-align:right;font-variant-numeric:tabular-nums}tr:nth-child(even){background:#f5f5f5}
figure{margin:1rem 0}svg{max-width:100%;height:auto}.note{color:#555}
@media print{body{max-width:none}h2{break-after:avoid}table,figure{break-inside:avoid}}
"""


class NoPlots(KatError):
    """The library that draws is not installed; the text says how to get it."""


class Page:
    """A page that is written from top to bottom."""

    def __init__(self, title: str, about: str = "") -> None:
        self._title = title
        self._parts = [f"<h1>{escape(title)}</h1>"]
        self.note(about)

    def heading(self, text: str, level: int = 2) -> None:
        """A heading; 2 begins a chapter, 3 a part of it."""
        self._parts.append(f"<h{level}>{escape(text)}</h{level}>")

    def note(self, text: str) -> None:
        """A paragraph for the reader."""
        if text:
            self._parts.append(f'<p class="note">{escape(text)}</p>')

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """A table; numbers stand to the right. Without rows it says that there is nothing."""
        if not rows:
            self.note("Nothing.")
            return
        head = "".join(f"<th>{escape(each)}</th>" for each in heads)
        body = "".join(f"<tr>{''.join(_cell(each) for each in row)}</tr>" for row in rows)
        self._parts.append(f"<table><tr>{head}</tr>{body}</table>")

    def curves(
        self, title: str, x: str, y: str, curves: Mapping[str, Points], *, steps: bool = False
    ) -> None:
        """Curves by name; with `steps` a value stands until the next point."""

        def draw(axes: Any) -> None:
            for name, points in curves.items():
                xs, ys = [p[0] for p in points], [p[1] for p in points]
                if steps:
                    axes.step(xs, ys, where="post", label=name)
                else:
                    axes.plot(xs, ys, label=name)
            axes.set_ylim(bottom=0)
            axes.legend(frameon=False)

        self._plot(title, x, y, draw)

    def bars(self, title: str, x: str, bars: Mapping[str, float]) -> None:
        """One bar a name, the longest above."""

        def draw(axes: Any) -> None:
            named = sorted(bars.items(), key=lambda each: (each[1], each[0]))
            axes.barh([name for name, _ in named], [value for _, value in named])

        self._plot(title, x, "", draw, height=max(1.5, 0.32 * len(bars) + 1))

    def columns(self, title: str, x: str, y: str, series: Mapping[str, Columns]) -> None:
        """A column for each x, in the order of the first series; several stand side by side."""

        def draw(axes: Any) -> None:
            wide = 0.8 / len(series)
            for number, (name, points) in enumerate(series.items()):
                at = [
                    place + (number - (len(series) - 1) / 2) * wide for place in range(len(points))
                ]
                axes.bar(at, [value for _, value in points], wide, label=name)
            axes.set_xticks(range(len(points)), [label for label, _ in points])
            if len(series) > 1:
                axes.legend(frameon=False)

        self._plot(title, x, y, draw)

    def html(self) -> str:
        """The whole page."""
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            f"<title>{escape(self._title)}</title><style>{_STYLE}</style></head>"
            f"<body>{''.join(self._parts)}</body></html>\n"
        )

    def _plot(self, title: str, x: str, y: str, draw: Any, height: float = 3.6) -> None:
        try:
            import matplotlib as mpl  # noqa: PLC0415  # only reports draw
            from matplotlib.figure import Figure  # noqa: PLC0415
        except ImportError as error:
            raise NoPlots(
                "a report needs matplotlib; install it with: pip install 'kat-workflow[reports]'"
            ) from error
        # Ids of a picture are random unless they are salted, and a date would be written.
        with mpl.rc_context({"svg.hashsalt": title, "svg.fonttype": "none"}):
            figure = Figure(figsize=(8, height), layout="constrained")
            axes = figure.add_subplot()
            draw(axes)
            axes.set_title(title, loc="left")
            axes.set_xlabel(x)
            axes.set_ylabel(y)
            axes.spines[["top", "right"]].set_visible(False)
            written = io.StringIO()
            figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None})
        svg = written.getvalue()
        self._parts.append(f"<figure>{svg[svg.index('<svg') :]}</figure>")


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f'<td class="number">{value:,.2f}</td>'
    if isinstance(value, int):
        return f'<td class="number">{value:,}</td>'
    return f"<td>{escape(str(value))}</td>"
