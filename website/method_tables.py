"""Write the tables of methods of the documentation from the runs that come with it:

mkdir -p work_dirs/real && tar xf docs/real_runs.tar.xz -C work_dirs/real
python website/method_tables.py work_dirs/real/methods

A second argument names a network, as in ``--nets`` of the experiment. Methods that lack a run are left out; of a method
of which a final run diverged, figures are of the other runs.
"""

import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from statistics import mean, median

from vptx.datasets import TASKS
from vptx.studies.evidence import Scores, compare, gain_of_best, holm
from vptx.studies.report import Found, means_with_errors, read
from vptx.studies.results import spread, table

NAMES = dict(
    linear='linear probe',
    vpt_shallow='VPT-shallow',
    vpt_deep='VPT-deep',
    bias='bias',
    full='full',
    lora='LoRA',
    ssf='SSF',
    adapter_plus='Adapter+',
    fourier='VFPT',
    e2vpt='E2VPT, unpruned',
    prefix='keys and values',
    adaptive='VAPT',
    cross='CVPT',
    gated='GatedPT',
    bilinear='BPT',
    rep_adapter='RepAdapter',
    fact='FacT',
    convpass='Convpass',
    mona='Mona',
    rein='Rein',
    explicit='EVP',
    l2p='L2P',
    dual_prompt='DualPrompt',
    coda_prompt='CODA-Prompt',
)
DASH = '-'


def read_runs(folder: str | Path) -> Found:
    """What a study left. Where a final run diverged, it is not missing, and figures are of the others.

    Raises:
        FileNotFoundError, ValueError: of ``read``.
    """
    found = read([folder])
    diverged = Counter((row['config'], row['task']) for row in found.trials if row['split'] == 'test' and row['error'])
    for o in found.outcomes:
        if o.test and len(o.missing) == diverged[o.method, o.task]:
            o.missing = []
    return found


def complete(found: Found, net: str) -> dict[str, str]:
    """Name of a method -> method, of those on a network that have all runs on all tasks; the best mean first."""
    tasks, methods = set(found.tasks()), {}
    for o in found.outcomes:
        of = found.of(o.method)
        if o.net == net and of.keys() == tasks and not any(other.missing for other in of.values()):
            methods[NAMES[o.variant or o.leaf]] = o.method
    return dict(sorted(methods.items(), key=lambda item: -mean(found.means(item[1]).values())))


def means(found: Found, methods: Mapping[str, str]) -> str:
    lines = []
    for name, method in methods.items():
        trained = median(float(row['trained']) for row in found.final(method))
        both = [_one_digit(text) for text in means_with_errors(found, method, found.tasks())]
        lines.append([name, *both, f'{trained:,.0f}'])
    head = ['method', 'mean of groups', 'mean of tasks', 'trained']
    used = [column for column in range(4) if any(line[column] != DASH for line in lines)]
    return table([head[c] for c in used], [[line[c] for c in used] for line in lines])


def _one_digit(text: str) -> str:
    return text if text == DASH else ' ± '.join(f'{float(part):.1f}' for part in text.split(' ± '))


def differences(found: Found, methods: Mapping[str, str], against: tuple[str, ...] = ('VPT-deep', 'LoRA')) -> str:
    """Points, and both p of ``compare``, corrected for the number of methods; two tasks say nothing of others."""
    few = len(found.tasks()) < 3
    scores = {name: found.scores(method) for name, method in methods.items()}
    against = tuple(name for name in against if name in methods)
    lines = {name: [name] for name in methods}
    for baseline in against:
        pairs = {name: compare(own, scores[baseline]) for name, own in scores.items() if name != baseline}
        seeds = holm({name: pair.seeds for name, pair in pairs.items() if pair})
        tasks = holm({name: pair.tasks for name, pair in pairs.items() if pair})
        for name, line in lines.items():
            pair = pairs.get(name)
            cells = [DASH] * 3
            if pair:  # a zero has no minus sign
                cells = [f'{round(pair.mean, 1) + 0.0:+.1f} ± {pair.error:.1f}', _p(seeds[name]), _p(tasks[name])]
            line += cells[: 2 if few else 3]
    heads = [[f'less {name}', '*p*, seeds', '*p*, tasks'][: 2 if few else 3] for name in against]
    return table(['method', *(column for head in heads for column in head)], list(lines.values()))


def _p(value: float) -> str:
    return '<0.001' if value < 0.001 else f'{value:.2g}'


def best_epochs(found: Found, methods: Mapping[str, str]) -> str:
    """Means of tasks after the last epoch and at the best one on the test split."""
    lines, gains = [], []
    for name, method in methods.items():
        last: Scores = found.scores(method)
        gain = gain_of_best(last, found.scores(method, 'best'))
        if gain:
            low = mean(mean(own.values()) for own in last.values())
            lines.append([name, f'{low:.2f}', f'{low + gain[0]:.2f}', f'{gain[0]:+.2f} ± {gain[1]:.2f}'])
            gains.append(gain[0])
    lines.append(['*all*', '', '', f'**{mean(gains):+.2f}**'])
    return table(['method', 'last epoch', 'best epoch on test', 'points that the choice gives'], lines)


def groups(found: Found, methods: Mapping[str, str]) -> list[str]:
    """Mean and range of the seeds: a table for each group of tasks."""
    by_group: dict[str, list[str]] = {}
    for task in found.tasks():
        by_group.setdefault(TASKS[task].group, []).append(task)
    return [
        table(
            [group, *(task.removeprefix('mini_').replace('_', ' ') for task in tasks)],
            [[name, *(spread(found.of(method)[task].test) for task in tasks)] for name, method in methods.items()],
        )
        for group, tasks in by_group.items()
    ]


def tables(folder: str | Path, net: str = '') -> list[str]:
    """All of a network, as Markdown; '' is the network of the configs.

    Raises:
        FileNotFoundError, ValueError: of ``read``.
    """
    found = read_runs(folder)
    methods = complete(found, net)
    return [means(found, methods), differences(found, methods), best_epochs(found, methods), *groups(found, methods)]


if __name__ == '__main__':
    print('\n\n'.join(tables(*sys.argv[1:])))
