"""Plots as SVG, by hand: they need nothing installed, and look the same everywhere."""
import math
from typing import NamedTuple
from xml.sax.saxutils import escape

# Told apart also by those who see fewer colours (Okabe and Ito).
COLOURS = ['#0072b2', '#e69f00', '#009e73', '#d55e00', '#cc79a7', '#56b4e9', '#555555', '#b8a800']
FONT = 'font-family="DejaVu Sans, Verdana, sans-serif"'
WIDTH = 760


class Drawing:
    def __init__(self, width, height):
        self.width, self.height = width, height
        self._parts = []

    def text(self, x, y, words, size=12, anchor='start', colour='#222', more=''):
        self._parts.append(f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}" {FONT} {more}>{escape(words)}</text>')

    def line(self, x1, y1, x2, y2, colour='#ddd', width=1.0, more=''):
        self._parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}" {more}/>')

    def box(self, x, y, width, height, colour):
        self._parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{height:.1f}" fill="{colour}"/>')

    def path(self, points, colour):
        where = ' '.join(f'{x:.1f},{y:.1f}' for x, y in points)
        self._parts.append(f'<polyline points="{where}" fill="none" stroke="{colour}" stroke-width="2"/>')
        self._parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]

    def svg(self):
        return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" width="{self.width}" height="{self.height}">\n'
                f'<rect width="100%" height="100%" fill="#fff"/>\n' + '\n'.join(self._parts) + '\n</svg>\n')


def short(value):
    """At most three digits and a unit."""
    for limit, unit in ((1e9, 'G'), (1e6, 'M'), (1e3, 'k')):
        if abs(value) >= limit:
            return f'{value / limit:.3g}{unit}'
    return f'{value:.3g}'


def steps(most):
    """Round numbers from zero to `most`, about five."""
    if most <= 0:
        return [0, 1]
    rough = most / 5
    magnitude = 10 ** math.floor(math.log10(rough))
    step = next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= rough)
    return [step * number for number in range(math.ceil(most / step - 1e-9) + 1)]


# --- bars -------------------------------------------------------------------------------------------------

class Bar(NamedTuple):
    label: str
    value: float
    least: float
    most: float


class Bars(NamedTuple):
    """One group with a scale of its own."""
    title: str
    bars: list


BAR_COLOURS = [('RB', COLOURS[0]), ('S0', '#777777'), ('SX', '#aaaaaa')]


def _bar_colour(label):
    return next((colour for prefix, colour in BAR_COLOURS if label.startswith(prefix)), COLOURS[1])


def bar_chart(title, unit, groups):
    """Groups of horizontal bars, one below the other; where they have them, with the range of the runs."""
    longest = max((len(bar.label) for group in groups for bar in group.bars), default=0)
    left, right, row, gap = max(110, 24 + 7 * longest), 90, 18, 42
    height = 44 + sum(gap + row * len(group.bars) for group in groups)
    drawing = Drawing(WIDTH, height)
    drawing.text(16, 26, title, 16, more='font-weight="bold"')
    y = 40
    for group in groups:
        y += gap - 10
        drawing.text(16, y, f'{group.title} ({unit})', 12, colour='#444', more='font-weight="bold"')
        y += 10
        most = max([bar.most for bar in group.bars] + [1e-9])
        scale = (WIDTH - left - right) / most
        for bar in group.bars:
            drawing.text(left - 8, y + 12, bar.label, 11, 'end')
            drawing.box(left, y + 2, bar.value * scale, row - 5, _bar_colour(bar.label))
            if bar.most > bar.least:
                drawing.line(left + bar.least * scale, y + row / 2, left + bar.most * scale, y + row / 2, '#222', 1.2)
            drawing.text(left + bar.most * scale + 6, y + 12, short(bar.value), 11)
            y += row
    return drawing.svg()


# --- lines ------------------------------------------------------------------------------------------------

class Axis(NamedTuple):
    label: str
    is_logarithmic: bool = False  # by powers of two
    show: object = short          # how its numbers are written


def line_chart(title, x_axis, y_axis, series):
    """`series`: {name: [(x, y)]}. y begins at zero; x is linear, or logarithmic with a mark at each value."""
    left, top, right, bottom = 76, 46, 24, 56
    height = 360 + 18 * len(series)
    plot_bottom = height - bottom - 18 * len(series)
    drawing = Drawing(WIDTH, height)
    drawing.text(16, 26, title, 16, more='font-weight="bold"')
    points = [point for line in series.values() for point in line]
    if not points:
        drawing.text(WIDTH / 2, height / 2, 'nothing was measured', 13, 'middle')
        return drawing.svg()
    along = _scale(sorted({x for x, _ in points}), x_axis.is_logarithmic, left, WIDTH - right)
    ticks = steps(max(y for _, y in points))
    for tick in ticks:
        y = plot_bottom - (plot_bottom - top) * tick / ticks[-1]
        drawing.line(left, y, WIDTH - right, y)
        drawing.text(left - 8, y + 4, y_axis.show(tick), 11, 'end')
    for x in along.ticks:
        drawing.line(along.place(x), plot_bottom, along.place(x), plot_bottom + 5, '#888')
        drawing.text(along.place(x), plot_bottom + 18, x_axis.show(x), 11, 'middle')
    drawing.text((left + WIDTH - right) / 2, plot_bottom + 36, x_axis.label, 12, 'middle')
    drawing.text(18, (top + plot_bottom) / 2, y_axis.label, 12, 'middle', more=f'transform="rotate(-90 18 {(top + plot_bottom) / 2:.1f})"')
    for number, (name, line) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        drawing.path([(along.place(x), plot_bottom - (plot_bottom - top) * y / ticks[-1]) for x, y in sorted(line)], colour)
        y = plot_bottom + 58 + 18 * number
        drawing.box(left, y - 9, 14, 10, colour)
        drawing.text(left + 20, y, name, 12)
    return drawing.svg()


class _Scale(NamedTuple):
    ticks: list
    place: object


def _scale(values, is_logarithmic, left, right):
    bend = math.log2 if is_logarithmic else float
    ticks = values if is_logarithmic or len(values) <= 10 else steps(values[-1])
    least, most = bend(min(values[0], ticks[0])), bend(max(values[-1], ticks[-1]))
    width = (most - least) or 1.0
    margin = 16
    return _Scale(ticks, lambda x: left + margin + (right - left - 2 * margin) * ((bend(x) - least) / width if most > least else 0.5))
