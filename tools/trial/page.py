"""page -- the report as one HTML file: charts and tables, readable without a network, light or dark."""
import html

from . import chart
from .report import KINDS, sentence

POINTS = 600  # of a line: longer runs are gathered
VIOLATIONS_SHOWN = 200
STYLE = """
:root { --ink: #1c2024; --soft: #60646c; --line: #e2e4e8; --paper: #fff; --band: #f6dcd3;
        --c1: #2563a8; --c2: #c2571a; --c3: #2f8f5b; --c4: #8a4fb0; --good: #1f7a45; --bad: #b3261e; }
@media (prefers-color-scheme: dark) {
:root { --ink: #e8eaed; --soft: #9aa0a8; --line: #33373d; --paper: #16181b; --band: #4a2a20;
        --c1: #6ea8e6; --c2: #ee9a62; --c3: #67c694; --c4: #c295e2; --good: #67c694; --bad: #f2827a; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
       max-width: 960px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; } h2 { font-size: 1.1rem; margin-top: 2rem; }
p.sub, small, .mark { color: var(--soft); } .passed { color: var(--good); } .failed { color: var(--bad); }
.tiles { display: flex; flex-wrap: wrap; gap: 1.5rem; margin: 1rem 0; }
.tiles div { min-width: 7rem; } .tiles b { display: block; font-size: 1.4rem; font-weight: 600; }
figure { margin: 1.5rem 0; } figcaption { font-weight: 600; } svg { width: 100%; height: auto; }
.grid { stroke: var(--line); } .mark { font-size: 11px; fill: var(--soft); } .band { fill: var(--band); }
polyline { fill: none; stroke-width: 1.5; stroke-linejoin: round; }
polyline.c1 { stroke: var(--c1); } polyline.c2 { stroke: var(--c2); } polyline.c3 { stroke: var(--c3); }
polyline.c4 { stroke: var(--c4); } rect.c1 { fill: var(--c1); } rect.c2 { fill: var(--c2); } rect.c3 { fill: var(--c3); }
.legend { margin: .2rem 0; font-size: 13px; } .legend span { margin-right: 1rem; }
.legend i { display: inline-block; width: 12px; height: 3px; margin-right: 5px; vertical-align: middle; }
i.c1 { background: var(--c1); } i.c2 { background: var(--c2); } i.c3 { background: var(--c3); } i.c4 { background: var(--c4); }
table { border-collapse: collapse; width: 100%; font-size: 13px; } th { text-align: right; font-weight: 600; }
td { text-align: right; font-variant-numeric: tabular-nums; } th:first-child, td:first-child { text-align: left; }
th, td { padding: 3px 8px 3px 0; border-bottom: 1px solid var(--line); } .wide { overflow-x: auto; } li { margin: .2rem 0; }
"""


def page(whole):
    title = f"{whole['program']}: {'passed' if whole['passed'] else 'failed'}"
    return (f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
            f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>'
            + heading(whole) + violations(whole) + charts(whole) + rounds(whole) + outcomes(whole) + settings(whole)
            + "</body></html>\n")


def found(whole):
    return [each for one in whole["rounds"] for each in one["violations"]] + whole["violations"]


def heading(whole):
    word = "passed" if whole["passed"] else "failed"
    seconds = whole["seconds"]
    length = seconds[-1]["at_s"] - seconds[0]["at_s"] + 1 if seconds else 0
    acknowledged = sum(second["acknowledged"] for second in seconds)
    tiles = (("calls acknowledged", f"{acknowledged:,}"), ("a second", f"{acknowledged / max(length, 1):,.0f}"),
             ("refused", f"{sum(second['refused'] for second in seconds):,}"),
             ("in doubt", f"{sum(second['in_doubt'] for second in seconds):,}"),
             ("faults and checks", f"{len(whole['rounds']):,}"), ("violations", f"{len(found(whole)):,}"))
    return (f'<h1>{whole["program"]} <span class="{word}">{word}</span></h1>'
            f'<p class="sub">{whole["began"]}, {length:.0f} s, version {whole["version"]}</p><div class="tiles">'
            + "".join(f"<div><b>{value}</b>{name}</div>" for name, value in tiles) + "</div>")


def violations(whole):
    all_found = found(whole)
    if not all_found:
        return ""
    shown = "".join(f"<li>{html.escape(sentence(each))}</li>" for each in all_found[:VIOLATIONS_SHOWN])
    more = len(all_found) - VIOLATIONS_SHOWN
    return f"<h2>Violations</h2><ul>{shown}</ul>" + (f"<p>and {more} more</p>" if more > 0 else "")


# ---- charts

def charts(whole):
    seconds = gathered(whole["seconds"])
    end = max([second["at_s"] for second in whole["seconds"]] + [one["healed_s"] for one in whole["rounds"]] + [1]) + 1
    bands = [(one["cut_s"], one["healed_s"], one["name"]) for one in whole["rounds"] if one["cut_s"] is not None]

    def line(name, colour, key):
        return name, colour, [(second["at_s"], second[key]) for second in seconds]
    return ("<h2>Over time</h2><p class=\"sub\">Shaded: while a fault lasted.</p>"
            + chart.lines("Throughput", "calls a second", [line("acknowledged", 1, "acknowledged"), line("refused", 2, "refused"),
                                                           line("in doubt", 4, "in_doubt")], end, bands)
            + chart.lines("Latency", "ms", [line("median", 1, "p50_ms"), line("99 of 100", 2, "p99_ms"), line("longest", 4, "max_ms")],
                          end, bands)
            + chart.lines("Views", "how many the nodes serve in", views(whole["views"], end), end, bands, steps=True)
            + chart.bars("After each heal", "ms", [("until one view", 1), ("until what was written meanwhile is everywhere", 3)],
                         [(one["name"], [one["one_view_ms"], one["everywhere_ms"]]) for one in whole["rounds"]]))


def gathered(seconds):
    """At most so many points, each the mean (the longest latency) of as many seconds."""
    size = -(-len(seconds) // POINTS) or 1
    points = []
    for first in range(0, len(seconds), size):
        some = seconds[first:first + size]
        point = {"at_s": some[0]["at_s"]}
        for key in ("acknowledged", "refused", "in_doubt"):
            point[key] = sum(second[key] for second in some) / len(some)
        for key in ("p50_ms", "p99_ms", "max_ms"):
            point[key] = max((second[key] for second in some if second[key] is not None), default=None)
        points.append(point)
    return points


def views(changes, end):
    many = [(change["at_s"], len({tuple(members) for members in change["views"].values() if members}))
            for change in changes]
    without = [(change["at_s"], sum(members is None for members in change["views"].values())) for change in changes]
    return [(name, colour, points + [(end, points[-1][1])] if points else [])
            for name, colour, points in (("views", 1, many), ("nodes in none, or that do not answer", 2, without))]


# ---- tables

def rounds(whole):
    heads = ("round", "began s", "one view ms", "everywhere ms", "acknowledged", "refused", "in doubt", "recovered", "violations")
    rows = [(one["name"], one["began_s"], one["one_view_ms"], one["everywhere_ms"], one["acknowledged"], one["refused"],
             one["in_doubt"], one["recovered"], len(one["violations"])) for one in whole["rounds"]]
    return "<h2>Faults and checks</h2>" + table(heads, rows)


def outcomes(whole):
    return "<h2>What calls came to</h2>" + table(("outcome", "calls"), sorted(whole["outcomes"].items()))


def settings(whole):
    rows = [(name, value) for name, value in whole["options"].items() if value not in (None, False)]
    kinds = "".join(f"<li>{name}: {text}</li>" for name, text in KINDS.items())
    return "<h2>Options</h2>" + table(("option", "value"), rows) + f"<h2>What counts as a violation</h2><ul>{kinds}</ul>"


def table(heads, rows):
    head = "".join(f"<th>{html.escape(str(cell))}</th>" for cell in heads)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell_text(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def cell_text(cell):
    if cell is None:
        return "-"
    return f"{cell:,}" if isinstance(cell, (int, float)) and not isinstance(cell, bool) else str(cell)
