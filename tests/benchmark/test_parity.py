"""Ways to compute prompts as keys and values, on a CPU: those that hold, and what is said of those that do not."""

import runpy
import sys
from pathlib import Path

import pytest
import torch
from networks import images, tiny

from vptx.benchmark.parity import compare_ways, faults, markdown
from vptx.benchmark.speed import candidates

TOOLS = Path(__file__).parents[2] / 'tools'
DEEP = dict(type='DeepPrompter', num_tokens=3)


def run(tool: str, *arguments: object) -> None:
    argv, sys.argv = sys.argv, [f'{tool}.py', *map(str, arguments)]
    try:
        runpy.run_path(str(TOOLS / f'{tool}.py'), run_name='__main__')
    finally:
        sys.argv = argv


def test_the_tool_leaves_a_page(tmp_path):
    net = 'vit_tiny_patch16_224'
    tiny = ['--nets', net, '--net-options', 'depth=2', 'embed_dim=24', '--size', 32, '--batches', 2, 3, '--prompts', 3]
    run('check_gpu', *tiny, '--rounds', 1, '--device', 'cpu', '--compiler', 'eager', '--out', tmp_path)
    (path,) = tmp_path.glob('20*_CPU.md')
    page = path.read_text()
    titles = [
        f'{net}, deep, 3 prompts, 2 images: ways to compute it',
        *(f'{net}, {n} images, bfloat16' for n in (2, 3)),
    ]
    assert [line[3:] for line in page.splitlines() if line.startswith('## ')] == [*titles, 'What does not hold']
    assert page.endswith('Nothing.\n')
    verdicts = {
        line.split('|')[1].strip(): line.split('|')[-2].strip() for line in page.splitlines() if '| yes' in line
    }
    assert (
        len(verdicts) == 7 and 'bfloat16, compiled in one graph' in verdicts and 'bfloat16, flash attention' in verdicts
    )
    assert 'python tools/check_gpu.py --nets vit_tiny' in page


def test_what_does_not_hold_is_told():
    _, _, ours, usual = candidates(tiny(), dict(deep=(DEEP, ['head'])))
    # Somewhat more than rounding, and something that no graph holds.
    ours.model.register_forward_hook(lambda module, inputs, output: (print(end=''), 1.01 * output)[1])
    ways = compare_ways(ours, usual, images(), torch.bfloat16, 'eager', 1)
    told = faults(ways)
    assert any(fault.startswith('float32: further off than is allowed') for fault in told)
    (broken,) = (fault for fault in told if fault.startswith('bfloat16, compiled in one graph: '))
    assert f'**no**: {broken.partition(": ")[2]}' in markdown(ways)


@pytest.mark.skipif(torch.cuda.is_available(), reason='here is one')
@pytest.mark.parametrize('tool', ['check_gpu', 'benchmark'])
def test_without_a_gpu_it_is_said(tool):
    with pytest.raises(SystemExit, match='finds no GPU here: run this where there is one, or --device cpu'):
        run(tool, '--device', 'cuda')
