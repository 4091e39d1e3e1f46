#!/usr/bin/env python3
"""Writes tests/fixtures/rollout.json: what src/rollout/ must compute, computed here in another way.

    python3 tests/rollout/vectors.py > tests/fixtures/rollout.json

Only Python's own library is used. Counts are whole numbers from the recursion of Mann and Whitney, tails are exact
fractions, bounds of a shift are taken from the sorted list of all differences, Student's quantile from an integral.
"""
import json
import math
import random
from fractions import Fraction
from functools import lru_cache
from statistics import NormalDist, median

rng = random.Random(20261130)


@lru_cache(maxsize=None)
def counts(n1, n0):
    if n1 == 0 or n0 == 0:
        return (1,)
    out = [0] * (n1 * n0 + 1)
    for u, count in enumerate(counts(n1 - 1, n0)):
        out[u + n0] += count
    for u, count in enumerate(counts(n1, n0 - 1)):
        out[u] += count
    return tuple(out)


def critical(n1, n0, level):
    if n1 * n0 > 2500:
        sd = math.sqrt(n1 * n0 * (n1 + n0 + 1) / 12)
        return max(0, math.floor(n1 * n0 / 2 + 0.5 + NormalDist().inv_cdf(level) * sd))
    below, total, level = 0, sum(counts(n1, n0)), Fraction(level)
    for c, count in enumerate(counts(n1, n0)):
        below += count
        if Fraction(below, total) > level:
            return c
    return n1 * n0 + 1


def shift(one, other, fail, pass_):
    d = sorted(a - b for a in one for b in other)
    low, high = critical(len(one), len(other), fail), critical(len(one), len(other), pass_)
    return dict(estimate=median(d), low=d[low - 1] if low else None, high=d[-high] if high else None)


def fisher(a, n1, b, n0):
    total = math.comb(n1 + n0, a + b)
    return Fraction(sum(math.comb(n1, k) * math.comb(n0, a + b - k)
                        for k in range(a, min(n1, a + b) + 1) if a + b - k <= n0), total)


def binomial(k, n, p):
    p = Fraction(p)
    return sum(math.comb(n, i) * p ** i * (1 - p) ** (n - i) for i in range(k, n + 1))


def student_upper(t, df, steps=40000):
    # Simpson over the angle: t = sqrt(df) tan(a), so that the integral is finite.
    c = math.exp(math.lgamma((df + 1) / 2) - math.lgamma(df / 2)) / math.sqrt(math.pi)
    low, high = math.atan(t / math.sqrt(df)), math.pi / 2
    h = (high - low) / steps
    f = lambda a: math.cos(a) ** (df - 1)
    s = f(low) + f(high) + sum((4 if i % 2 else 2) * f(low + i * h) for i in range(1, steps))
    return c * s * h / 3


def student(upper, df):
    low, high = 0.0, 1000.0
    for _ in range(60):
        mid = (low + high) / 2
        low, high = (mid, high) if student_upper(mid, df, 2000) > upper else (low, mid)
    return (low + high) / 2


def usual(stores):
    days = list(zip(*stores))
    week = [[value - median(day) for value, day in zip(row, days)] for row in stores]
    week = [[value - median(row) for value in row] for row in week]
    flat = [value for row in week for value in row]
    edge = max(math.log(1.5), 4 * 1.4826 * median(abs(value) for value in flat))
    return edge, (sum(value > edge for value in flat) + 1) / (len(flat) + 1)


def far(changes, edge, share):
    middle = median(changes)
    k = [i for i, change in enumerate(changes) if change - middle > edge]
    return k if k and float(binomial(len(k), len(changes), share)) < 0.05 else []


def p95(weighted):
    total, below = sum(weighted.values()), 0.0
    for value in sorted(weighted):
        below += weighted[value]
        if below >= 0.95 * total * (1 - 1e-9):
            return math.log(value)


def within_values(stores, fail, pass_):
    def ratio(stores):
        one, other = {}, {}
        for a, b in stores:
            for value in a:
                one[value] = one.get(value, 0) + 1
            for value in b:
                other[value] = other.get(value, 0) + len(a) / len(b)
        return p95(one) - p95(other)
    return jackknife(ratio, stores, fail, pass_)


def within_counts(stores, fail, pass_):
    def difference(stores):
        attempts = sum(a[1] for a, _ in stores)
        return sum(a[0] for a, _ in stores) / attempts - sum(a[1] * b[0] / b[1] for a, b in stores) / attempts
    return jackknife(difference, stores, fail, pass_)


def jackknife(statistic, stores, fail, pass_):
    n, full = len(stores), statistic(stores)
    each = [statistic(stores[:i] + stores[i + 1:]) for i in range(n)]
    mean = sum(each) / n
    se = math.sqrt((n - 1) / n * sum((x - mean) ** 2 for x in each))
    return dict(estimate=full, low=full - student(fail, n - 1) * se, high=full + student(pass_, n - 1) * se)


def normals(n, mean, sd):
    return [rng.gauss(mean, sd) for _ in range(n)]


def main():
    fail, pass_ = 0.05 / 21, 0.04
    out = {}
    out["arrangements"] = [dict(n1=a, n0=b, counts=list(counts(a, b)))
                           for a, b in [(1, 1), (2, 3), (3, 10), (4, 7), (5, 45), (7, 7), (6, 20)]]
    out["critical"] = [dict(n1=a, n0=b, level=level, c=critical(a, b, level))
                       for a, b in [(1, 1), (3, 10), (3, 27), (5, 45), (13, 37), (25, 25), (38, 12), (50, 50),
                                    (51, 50), (50, 450), (200, 1800), (1000, 1000)]
                       for level in (0.05, 0.04, 0.005, fail, 0.05 / 42)]
    out["shifts"] = []
    for n1, n0, effect in [(3, 10, 0.0), (3, 27, 0.3), (5, 45, 0.0), (5, 45, math.log(1.3)), (13, 37, 0.1), (50, 450, 0.2)]:
        one, other = normals(n1, effect, 0.12), normals(n0, 0.0, 0.12)
        out["shifts"].append(dict(candidates=one, controls=other, fail=fail, **{"pass": pass_}, expected=shift(one, other, fail, pass_)))
    # With ties, as rates have them.
    one, other = [0.0, 0.0, 0.01, 0.02, 0.0], [0.0] * 30 + [0.01] * 15
    out["shifts"].append(dict(candidates=one, controls=other, fail=fail, **{"pass": pass_}, expected=shift(one, other, fail, pass_)))
    out["fisher"] = [dict(a=a, n1=n1, b=b, n0=n0, p=float(fisher(a, n1, b, n0)))
                     for a, n1, b, n0 in [(3, 50, 4, 450), (5, 50, 4, 450), (10, 50, 5, 450), (0, 50, 4, 450), (1, 3, 1, 3),
                                          (3, 3, 0, 30), (40, 2000, 180, 18000), (60, 2000, 180, 18000), (2, 50, 40, 450)]]
    out["binomial"] = [dict(k=k, n=n, p=p, upper=float(binomial(k, n, p)))
                       for k, n, p in [(1, 5, 0.0125), (2, 5, 0.0125), (1, 50, 0.01), (4, 50, 0.02), (5, 5, 0.5), (0, 9, 0.3),
                                       (30, 50, 0.5), (10, 50, 0.5), (200, 1000, 0.15)]]
    out["normal"] = [dict(p=p, z=NormalDist().inv_cdf(p)) for p in (1e-12, 1e-6, fail, 0.005, 0.04, 0.05, 0.2, 0.5, 0.7, 0.975, 0.999999)]
    out["student"] = [dict(upper=p, degrees=df, t=student(p, df)) for p in (fail, 0.025, 0.05) for df in (1, 2, 3, 7, 8, 29, 49, 200)]
    # The levels of the looks: of a failure of one of three metrics, of silence, and of a pass from the first look on at
    # which one is possible.
    later = [Fraction(1, 2), Fraction(1, 4), Fraction(1, 8)]
    rest = Fraction(64, 600)
    fails = [Fraction(36, 100)] + [rest] * 5 + [rest * part for part in later]
    out["fail_levels"] = [float(Fraction(25, 1000) * part / 3) for part in fails]
    out["silence_levels"] = [float(Fraction(5, 100) * part / 7) for part in [Fraction(1)] * 6 + later]
    out["pass_levels"] = [0.04, 0.005, 0.0025, 0.00125]
    stores = [[base + rng.gauss(0, 0.06) + (0.7 if rng.random() < 0.02 else 0.0) for _ in range(7)] for base in normals(50, 0, 0.35)]
    edge, share = usual(stores)
    out["single"] = [dict(days=stores, edge=edge, share=share, changes=changes, far=far(changes, edge, share))
                     for changes in (normals(5, 0.0, 0.1), normals(4, 0.0, 0.05) + [0.69], [0.3] * 5, normals(20, 0.2, 0.05) + [0.9, 0.9, 0.9])]
    values = lambda n, mean: [max(1, min(2047, round(math.exp(rng.gauss(mean, 0.5))))) for _ in range(n)]
    stores = [(values(rng.randint(20, 40), 5.2 + off), values(rng.randint(100, 200), 5.0 + off)) for off in normals(12, 0, 0.2)]
    out["within_values"] = dict(stores=stores, fail=fail, **{"pass": 0.025}, expected=within_values(stores, fail, 0.025))
    stores = [((rng.randint(0, 4), rng.randint(100, 300)), (rng.randint(0, 9), rng.randint(900, 2000))) for _ in range(15)]
    out["within_counts"] = dict(stores=stores, fail=fail, **{"pass": 0.025}, expected=within_counts(stores, fail, 0.025))
    print(json.dumps(out))


main()
