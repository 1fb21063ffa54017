"""What runs say of methods that were tried on the same tasks with the same seeds.

mean            of the seeds on a task, and of the tasks, with a standard error that counts two things: other seeds
                would give other scores, and other test images would, too. The second is sqrt(p (1 - p) / n) of n
                images, at most: some images are easy for every seed
difference      of two methods, paired by task and seed. Two questions, two tests, both two-sided: whether other
                seeds on these tasks would say the same (t-test within tasks, Satterthwaite's degrees of freedom),
                and whether other tasks would (t-test of the tasks' means)
Holm            p of many methods against one: that of the most different is multiplied by their number, and so on,
                so that the probability of a single false finding among them stays below what is read
best epoch      what picking the best epoch on the test split, as many public codes do, adds to the last epoch
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, sqrt
from statistics import mean, variance

__all__ = ['Difference', 'Scores', 'compare', 'error', 'error_of_mean', 'gain_of_best', 'holm']

#: Task -> seed -> score, in per cent.
Scores = Mapping[str, Mapping[int, float]]


def error(scores: Sequence[float], images: int | None) -> float:
    """Standard error of the mean of a task's scores, in points.

    Args:
        scores: of each seed, in per cent.
        images: of the test split; None where the score is no share of images.
    """
    share = mean(scores) / 100
    of_images = 1e4 * share * (1 - share) / images if images else 0.0
    return sqrt((variance(scores) / len(scores) if len(scores) > 1 else 0.0) + of_images)


def error_of_mean(errors: Iterable[float]) -> float:
    """Standard error of a mean of these tasks, from that of each."""
    errors = list(errors)
    return sqrt(sum(error**2 for error in errors)) / len(errors)


@dataclass(frozen=True)
class Difference:
    """Between two methods.

    Attributes:
        mean: over tasks, of the first less the second, in points.
        error: its standard error over seeds.
        seeds: p, of other seeds on these tasks.
        tasks: p, of other tasks.
        number: of tasks that both have.
    """

    mean: float
    error: float
    seeds: float
    tasks: float
    number: int


def compare(one: Scores, other: Scores) -> Difference | None:
    """Where both have at least two tasks with two seeds in common; None elsewhere."""
    from scipy.stats import t as student

    gains = {}
    for task in one.keys() & other.keys():
        shared = one[task].keys() & other[task].keys()
        if len(shared) > 1:
            gains[task] = [one[task][seed] - other[task][seed] for seed in shared]
    if len(gains) < 2:
        return None
    means, variances = [mean(found) for found in gains.values()], [variance(g) / len(g) for g in gains.values()]
    difference, over_seeds, over_tasks = mean(means), sum(variances), variance(means) / len(means)

    def p(spread: float, degrees: float) -> float:
        if not difference:
            return 1.0
        return float(2 * student.sf(abs(difference) / spread, degrees)) if spread else 0.0

    squares = sum(v**2 / (len(g) - 1) for v, g in zip(variances, gains.values(), strict=True))
    error = sqrt(over_seeds) / len(gains)
    within = p(error, over_seeds**2 / squares if squares else inf)
    return Difference(difference, error, within, p(sqrt(over_tasks), len(gains) - 1), len(gains))


def holm(found: Mapping[str, float]) -> dict[str, float]:
    """p of each of several tests, corrected for their number (Holm 1979)."""
    corrected, least = {}, 0.0
    for rank, name in enumerate(sorted(found, key=lambda name: found[name])):
        least = max(least, min(1.0, (len(found) - rank) * found[name]))
        corrected[name] = least
    return {name: corrected[name] for name in found}


def gain_of_best(last: Scores, best: Scores) -> tuple[float, float, int] | None:
    """Points that the best epochs are above the last ones: mean over tasks, its standard error over seeds, and the
    number of runs; None without any."""
    gains = {
        task: [best[task][seed] - last[task][seed] for seed in last[task].keys() & best[task].keys()]
        for task in last.keys() & best.keys()
    }
    gains = {task: found for task, found in gains.items() if found}
    if not gains:
        return None
    errors = [error(found, None) for found in gains.values()]
    return mean(map(mean, gains.values())), error_of_mean(errors), sum(map(len, gains.values()))
