"""Pictures of a run of bench/compare, as SVG: who is at the front in time and memory, and by how much in each workload."""

import html
import math

SUBJECT, PEER, GRID, INK = "#c22", "#3a6ea5", "#ddd", "#333"


def page(width, height, parts, note):
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="#fff"/>', *parts,
        f'<text x="{width - 12}" y="{height - 6}" text-anchor="end" font-size="10" fill="#777">{html.escape(note)}</text>', "</svg>", ""])


def frontier(points):
    """Of {name: (time, memory)} those that no other beats in both, from the fastest on."""
    front = []
    for name, (time, memory) in sorted(points.items(), key=lambda item: item[1]):
        if not front or memory < points[front[-1]][1]:
            front.append(name)
    return front


def scatter(points, subject, note):
    """points: {name: (time over the fastest, peak resident over the tightest)}, geometric means."""
    width, height, left, top, right, bottom = 720, 460, 60, 24, 24, 64
    widest = max(time for time, _ in points.values()) * 1.1
    highest = max(memory for _, memory in points.values()) * 1.1

    def x(time):
        return left + math.log(time) / math.log(widest) * (width - left - right)

    def y(memory):
        return height - bottom - math.log(memory) / math.log(highest) * (height - top - bottom)

    parts = []
    for mark in (1, 1.1, 1.2, 1.3, 1.5, 1.75, 2, 2.5, 3, 4, 6, 8):
        if mark <= widest:
            parts.append(f'<path d="M{x(mark):.1f} {top}V{height - bottom}" stroke="{GRID}"/>'
                         f'<text x="{x(mark):.1f}" y="{height - bottom + 16}" text-anchor="middle" fill="{INK}">{mark:g}</text>')
        if mark <= highest:
            parts.append(f'<path d="M{left} {y(mark):.1f}H{width - right}" stroke="{GRID}"/>'
                         f'<text x="{left - 6}" y="{y(mark) + 4:.1f}" text-anchor="end" fill="{INK}">{mark:g}</text>')
    front = " ".join(f"{x(points[name][0]):.1f},{y(points[name][1]):.1f}" for name in frontier(points))
    parts.append(f'<polyline points="{front}" fill="none" stroke="#999" stroke-dasharray="5 4"/>')
    for name, (time, memory) in points.items():
        color = SUBJECT if name == subject else PEER
        parts.append(f'<circle cx="{x(time):.1f}" cy="{y(memory):.1f}" r="5" fill="{color}"/>'
                     f'<text x="{x(time) + 8:.1f}" y="{y(memory) - 6:.1f}" fill="{color}">{html.escape(name)}</text>')
    parts.append(f'<text x="{(left + width) / 2:.0f}" y="{height - bottom + 34}" text-anchor="middle" fill="{INK}">'
                 "CPU time over the fastest, geometric mean of all workloads</text>")
    parts.append(f'<text transform="translate(14 {(height - bottom + top) / 2:.0f}) rotate(-90)" text-anchor="middle" fill="{INK}">'
                 "peak resident over the tightest</text>")
    return page(width, height, parts, note)


def ratios(rows, subject, note):
    """rows: {workload: the subject's time over that of the best peer}; a bar each, the worst first."""
    ordered = sorted(rows.items(), key=lambda item: -item[1])
    line, left, right, top = 18, 220, 70, 30
    width, height = 720, top + line * len(ordered) + 34
    least, most = min(min(rows.values()), 0.5), max(max(rows.values()), 1.5)

    def x(ratio):
        return left + math.log(ratio / least) / math.log(most / least) * (width - left - right)

    parts = [f'<text x="{x(1):.1f}" y="{top - 10}" text-anchor="middle" fill="{INK}">the best peer in it</text>']
    for i, (name, ratio) in enumerate(ordered):
        y = top + i * line
        begin, end = sorted((x(1), x(ratio)))
        parts.append(f'<text x="{left - 8}" y="{y + 13}" text-anchor="end" fill="{INK}">{html.escape(name)}</text>'
                     f'<rect x="{begin:.1f}" y="{y + 3}" width="{max(end - begin, 0.5):.1f}" height="{line - 6}" '
                     f'fill="{SUBJECT if ratio > 1 else PEER}"/>'
                     f'<text x="{width - right + 8}" y="{y + 13}" fill="{INK}">{ratio:.2f}</text>')
    parts.append(f'<path d="M{x(1):.1f} {top}V{top + line * len(ordered)}" stroke="{INK}"/>')
    return page(width, height, parts, note)
