"""chart -- lines, steps and bars over time as SVG: text that a page holds, and nothing from elsewhere.

A series is (name, number of its colour, [(x, y or None), ...]); None leaves a gap.  Bands are
(from, to, name): the faults, behind everything."""
import html
import math

WIDTH, HEIGHT = 920, 220
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 10, 26
TICKS = 5
STEPS = (1, 2, 2.5, 5, 10)


def ticks(top, count=TICKS):
    """Round numbers from 0 to the first that is not below `top`."""
    if top <= 0:
        top = 1
    rough = top / count
    ten = 10 ** math.floor(math.log10(rough))
    step = next(each * ten for each in STEPS if each * ten >= rough * 0.999)
    return [step * at for at in range(math.ceil(top / step * 0.999) + 1)]


def words(value):
    for limit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:g} {name}"
    return f"{value:g}"


class Frame:
    """Places of a chart, and what is behind its data."""

    def __init__(self, x_end, y_top, bands=()):
        self.x_end, self.marks = max(x_end, 1e-9), ticks(y_top)
        self.parts = []
        for begin, end, name in bands:
            left, right = self.x(begin), self.x(min(end, x_end))
            self.parts.append(f'<rect class="band" x="{left:.1f}" y="{TOP}" width="{max(right - left, 1):.1f}" '
                              f'height="{HEIGHT - TOP - BOTTOM}"><title>{html.escape(name)}</title></rect>')
        for mark in self.marks:
            y = self.y(mark)
            self.parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
                              f'<text class="mark" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{words(mark)}</text>')

    def x(self, value):
        return LEFT + (WIDTH - LEFT - RIGHT) * value / self.x_end

    def y(self, value):
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * min(value / self.marks[-1], 1)

    def times(self):
        for mark in ticks(self.x_end, 8):
            if mark <= self.x_end:
                self.below(self.x(mark), f"{words(mark)} s")

    def below(self, x, text):
        self.parts.append(f'<text class="mark" x="{x:.1f}" y="{HEIGHT - 8}" text-anchor="middle">{html.escape(text)}</text>')

    def svg(self, title):
        return (f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(title)}">'
                + "".join(self.parts) + "</svg>")


def legend(names):
    return '<p class="legend">' + "".join(f'<span><i class="c{colour}"></i>{html.escape(name)}</span>'
                                          for name, colour in names) + "</p>"


def figure(title, unit, names, frame):
    keys = legend(names) if len(names) > 1 else ""
    return f'<figure><figcaption>{html.escape(title)} <small>{html.escape(unit)}</small></figcaption>{keys}{frame.svg(title)}</figure>'


def runs(points):
    """Stretches without a gap."""
    run = []
    for x, y in points:
        if y is None:
            if run:
                yield run
            run = []
        else:
            run.append((x, y))
    if run:
        yield run


def lines(title, unit, series, x_end, bands=(), steps=False):
    top = max((y for _, _, points in series for _, y in points if y is not None), default=1)
    frame = Frame(x_end, top, bands)
    for name, colour, points in series:
        for run in runs(points):
            places = []
            for x, y in run:
                if steps and places:
                    places.append(f"{frame.x(x):.1f},{places[-1].split(',')[1]}")
                places.append(f"{frame.x(x):.1f},{frame.y(y):.1f}")
            if len(places) == 1:
                places.append(f"{frame.x(run[0][0]) + 2:.1f},{places[0].split(',')[1]}")
            frame.parts.append(f'<polyline class="c{colour}" points="{" ".join(places)}"><title>{html.escape(name)}</title></polyline>')
    frame.times()
    return figure(title, unit, [(name, colour) for name, colour, _ in series], frame)


def bars(title, unit, names, groups):
    """`groups`: (label, [value or None of each name])."""
    frame = Frame(len(groups) or 1, max((value or 0 for _, values in groups for value in values), default=1))
    width = min(1 / (len(names) + 1), 0.05 * max(len(groups), 1))
    for at, (label, values) in enumerate(groups):
        for which, value in enumerate(values):
            if value is not None:
                left = at + 0.5 + (which - len(names) / 2) * width
                y = frame.y(value)
                frame.parts.append(f'<rect class="bar c{names[which][1]}" x="{frame.x(left):.1f}" y="{y:.1f}" '
                                   f'width="{max(frame.x(width) - frame.x(0) - 2, 1):.1f}" height="{HEIGHT - BOTTOM - y:.1f}">'
                                   f"<title>{html.escape(label)}: {words(value)} {html.escape(unit)}</title></rect>")
        if len(groups) <= 12:
            frame.below(frame.x(at + 0.5), label)
    return figure(title, unit, names, frame)
