"""What a whole run of bench/compare says: how far each allocator is from the fastest and from the tightest, over all
workloads, and whether neap's bars hold."""

import math
import statistics

TIMES = ("cpu_ns", "cpu_s")  # of a row the first that it has: CPU time, which other work on the machine disturbs least
NEAR = 1.5  # a peer that takes longer than that over the fastest is not one to be as tight as


def geomean(values):
    return math.exp(statistics.fmean(math.log(v) for v in values))


def medians(results, fields):
    """{row: {allocator: median}} of the first of these fields that a row has."""
    found = {}
    for field in fields:
        for (row, name), by_allocator in results.items():
            if name == field and row not in found:
                found[row] = {allocator: statistics.median(values) for allocator, values in by_allocator.items()}
    return found


def over_best(by_row, names, best_of):
    """{allocator: [(its figure over the best of `best_of`, row)]}, of rows that it finished."""
    found = {name: [] for name in names}
    for row, figures in by_row.items():
        best = min((figures[name] for name in best_of if figures.get(name, 0) > 0), default=None)
        for name in names:
            if best is not None and figures.get(name, 0) > 0:
                found[name].append((figures[name] / best, row))
    return found


def mean_of(ratios):
    return geomean([ratio for ratio, _ in ratios]) if ratios else None


def text(value):
    return "-" if value is None else f"{value:.2f}"


def verdict(value, bar):
    return "-" if value is None else "holds" if value <= bar else f"**missed by {value - bar:.3g}**"


def points(results, names):
    """{allocator: (time over the fastest, peak resident over the tightest)} of those that have both."""
    times = over_best(medians(results, TIMES), names, names)
    peaks = over_best(medians(results, ("peak_mib",)), names, names)
    return {name: (mean_of(times[name]), mean_of(peaks[name])) for name in names if times[name] and peaks[name]}


def against_best(results, names, subject):
    """{workload: the subject's time over that of the best peer in it}."""
    peers = [name for name in names if name != subject]
    return {row: ratio for ratio, row in over_best(medians(results, TIMES), [subject], peers)[subject]}


def verdicts(results, names, subject):
    """Rows of the table of allocators and of that of the bars, each with its head, and of the workloads to explain."""
    times, peaks = medians(results, TIMES), medians(results, ("peak_mib",))
    excess = medians(results, ("excess_mib_s",))
    time_ratios, peak_ratios = over_best(times, names, names), over_best(peaks, names, names)
    sums = {name: sum(figures.get(name, math.nan) for figures in excess.values()) or math.nan for name in names}
    least = min((value for value in sums.values() if not math.isnan(value)), default=math.nan)
    table = [["allocator", "time over the fastest", "worst of them", "peak resident over the tightest", "excess x time over the least"]]
    for name in sorted(names, key=lambda name: mean_of(time_ratios[name]) or math.inf):
        worst, where = max(time_ratios[name], default=(None, ""))
        share = None if math.isnan(sums[name] / least) else sums[name] / least
        table.append([name, text(mean_of(time_ratios[name])), f"{text(worst)} ({where})", text(mean_of(peak_ratios[name])), text(share)])

    peers = [name for name in names if name != subject]

    def against(by_row, peer):
        pairs = [(figures[subject] / figures[peer]) for figures in by_row.values() if figures.get(subject, 0) > 0 and figures.get(peer, 0) > 0]
        return geomean(pairs) if pairs else None

    in_time = {peer: value for peer in peers if (value := against(times, peer)) is not None}
    own_ratios = over_best(times, [subject], peers)[subject]
    worst = max(own_ratios, default=(None, ""))
    fastest = min((mean for peer in peers if (mean := mean_of(time_ratios[peer]))), default=None)
    near = [peer for peer in peers if fastest and (mean_of(time_ratios[peer]) or math.inf) <= NEAR * fastest]
    in_peak = {peer: value for peer in near if (value := against(peaks, peer)) is not None}
    other_sums = [sums[peer] for peer in peers if not math.isnan(sums[peer])]
    share = sums[subject] / min(other_sums) if other_sums and not math.isnan(sums[subject]) else None

    def most(by_peer):
        return max(by_peer.items(), key=lambda item: item[1], default=("", None))

    bars = [["bar", "", f"{subject}", "verdict"]]
    peer, value = most(in_time)
    bars.append(["geomean of time over that of the best peer", f"<= 1.00, {peer}", text(value), verdict(value, 1.0)])
    bars.append(["worst workload over the best peer in it", f"<= 1.25, {worst[1]}", text(worst[0]), verdict(worst[0], 1.25)])
    peer, value = most(in_peak)
    bars.append([f"geomean of peak resident over that of the tightest within {NEAR} in time", f"<= 1.00, {peer}", text(value), verdict(value, 1.0)])
    bars.append(["resident less live, summed over time, over the best peer's", "<= 0.50", text(share), verdict(share, 0.5)])
    explained = sorted(((ratio, row) for ratio, row in own_ratios if ratio > 1.1), reverse=True)
    return table, bars, [[row, f"{ratio:.2f}"] for ratio, row in explained]
