"""Ways to compute prompts as keys and values, on a CPU: those that hold, and what is said of those that do not."""

import re
import runpy
import sys
import time
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pytest
import timm
import torch
from networks import images, tiny

from vptx.benchmark.parity import compare_ways, faults, markdown
from vptx.benchmark.speed import FULL, Method, Result, candidates, measure
from vptx_cli.check_gpu import _free, _targets, _until

TOOLS = Path(__file__).parents[2] / 'tools'
DEEP = dict(type='DeepPrompter', num_tokens=3)


def run(tool: str, *arguments: object) -> None:
    argv, sys.argv = sys.argv, [f'{tool}.py', *map(str, arguments)]
    try:
        runpy.run_path(str(TOOLS / f'{tool}.py'), run_name='__main__')
    finally:
        sys.argv = argv


SEGMENTATION = """
    model.backbone.net.img_size=64 model.backbone.net.embed_dim=32 model.backbone.net.depth=4
    model.backbone.net.num_heads=2 model.backbone.readout.maps=[0,1,2,3]
    model.decode_head.in_channels=32 model.decode_head.channels=8
    model.auxiliary_head.0.in_channels=32 model.auxiliary_head.0.channels=8
    model.auxiliary_head.1.in_channels=32 model.auxiliary_head.1.channels=8
    model.auxiliary_head.2.in_channels=32 model.auxiliary_head.2.channels=8
    model.data_preprocessor.size=(64,64) train_dataloader.dataset.pipeline.2.scale=(256,64)
    train_dataloader.dataset.pipeline.3.crop_size=(64,64) train_dataloader.batch_size=2
    train_dataloader.num_workers=0 train_dataloader.persistent_workers=False
"""


def test_the_tool_leaves_a_page(tmp_path):
    """All that it does on a GPU, in small."""
    net = 'vit_tiny_patch16_224'
    tiny = ['--nets', net, '--net-options', 'depth=2', 'embed_dim=24', '--size', 32, '--batches', 2, 3, '--prompts', 50]
    how = ['--rounds', 1, '--device', 'cpu', '--compiler', 'eager', '--dtypes', 'bfloat16', '--out', tmp_path]
    run('check_gpu', *tiny, *how, '--iterations', 3, '--seg-options', *SEGMENTATION.split())
    (path,) = tmp_path.glob('20*_CPU.md')
    page = path.read_text()
    run_of = 'seg/setr_vitl_vpt, bfloat16, 3 iterations'
    assert [line[3:] for line in page.splitlines() if line.startswith('## ')] == [
        'Process group of one',
        *(f'{net}, {n} images, bfloat16' for n in (2, 3)),
        run_of,
        f'{run_of}, activations checkpointed',
        f'{net}, deep, 50 prompts, 2 images, bfloat16: ways to compute it',
        'What does not hold',
    ]
    assert page.endswith('Nothing.\n')
    verdicts = {
        line.split('|')[1].strip(): line.split('|')[-2].strip() for line in page.splitlines() if '| yes' in line
    }
    assert (
        len(verdicts) == 7 and 'bfloat16, compiled in one graph' in verdicts and 'bfloat16, flash attention' in verdicts
    )
    assert 'python tools/check_gpu.py --nets vit_tiny' in page
    assert 'deep, 50 prompts, training step: ' in page and 'the frozen baseline, target 1.00' in page
    assert 'gloo has started and added up a million values.' in page
    speeds = re.findall(r'([\d.]+) images/s \(median of 2 iterations of 2\), .*, loss ([\d.]+) to [\d.]+', page)
    assert len(speeds) == 2 and speeds[0][1] == speeds[1][1]  # checkpointing changes no loss
    assert ('LoRA of PEFT, rank 8' in page) is (find_spec('peft') is not None)


SMALL = ['--nets', 'vit_tiny_patch16_224', '--net-options', 'depth=1', 'embed_dim=24', '--size', 32, '--batches', 2]
SMALL += ['--prompts', 50, '--rounds', 1, '--device', 'cpu', '--compiler', 'eager', '--dtypes', 'bfloat16']


def test_a_part_that_fails_is_named_and_the_others_are_measured(tmp_path, monkeypatch):
    def lacks_memory(found, *others):
        if any(candidate.name == FULL for candidate in found):
            raise torch.cuda.OutOfMemoryError('out of memory')
        return measure(found, *others)

    def fails(device):
        raise RuntimeError('no such library\nand more')

    monkeypatch.setattr('vptx.benchmark.speed.measure', lacks_memory)
    monkeypatch.setattr('vptx_cli.check_gpu._exchange', fails)
    with pytest.raises(SystemExit) as ended:
        run('check_gpu', *SMALL, '--parts', 'group', 'speed', '--out', tmp_path)
    assert ended.value.code == 1
    page = next(tmp_path.glob('*.md')).read_text()
    assert '* Process group of one: RuntimeError: no such library\n' in page
    assert f'2 images: {FULL} takes more memory than there is\n' in page
    assert '| deep, 50 prompts |' in page and f'| {FULL} |' not in page


def test_networks_that_do_not_fit_are_named_and_the_others_are_measured(tmp_path, monkeypatch):
    def lacks_memory(net, *args, **options):
        if 'small' in net:
            raise torch.cuda.OutOfMemoryError('out of memory')
        return create_model(net, *args, **options)

    def lacks_more(found, image, *others):
        if len(image) > 2:
            raise torch.cuda.OutOfMemoryError('out of memory')
        return measure(found, image, *others)

    create_model = timm.create_model
    monkeypatch.setattr('timm.create_model', lacks_memory)
    monkeypatch.setattr('vptx.benchmark.speed.measure', lacks_more)
    nets = ['--nets', 'vit_small_patch16_224', 'vit_tiny_patch16_224', '--batches', 3, 2]
    with pytest.raises(SystemExit):
        run('check_gpu', *SMALL, *nets, '--parts', 'speed', '--out', tmp_path)
    page = next(tmp_path.glob('*.md')).read_text()
    assert '* vit_small_patch16_224, 2 images, bfloat16: OutOfMemoryError: out of memory\n' in page
    assert '* vit_tiny_patch16_224, 3 images: frozen takes more memory than there is\n' in page
    assert '* vit_tiny_patch16_224, 3 images, bfloat16: RuntimeError: without the frozen baseline' in page
    assert '| deep, 50 prompts |' in page


def test_what_time_does_not_suffice_for_is_named_in_a_page_that_is_there_all_the_time(tmp_path, monkeypatch):
    def endless(*_):
        assert 'bfloat16' in next(tmp_path.glob('*.md')).read_text()  # the part before is written
        while True:
            time.sleep(0.01)

    monkeypatch.setattr('vptx_cli.check_gpu._segment', endless)
    monkeypatch.setattr('vptx_cli.check_gpu._until', partial(until, seconds=[60, 0.2, 0, 0]))
    with pytest.raises(SystemExit) as ended:
        run('check_gpu', *SMALL, '--parts', 'speed', 'segmentation', 'ways', '--minutes', 1, '--out', tmp_path)
    assert ended.value.code == 1
    page = next(tmp_path.glob('*.md')).read_text()
    assert page.count(': TimeoutError: no time is left for it\n') == 3 and '| deep, 50 prompts |' in page
    assert _free(next(tmp_path.glob('*.md'))).stem.endswith('_CPU_2')


def test_a_part_that_swallows_the_end_of_its_time_is_told_again(monkeypatch):
    def part():
        try:
            time.sleep(10)
        except OSError as error:  # of which TimeoutError is one
            swallowed.append(error)
        time.sleep(10)

    swallowed = []
    monkeypatch.setattr('vptx_cli.check_gpu.AGAIN', 0.5)
    with pytest.raises(TimeoutError), _until(time.monotonic() + 0.01):
        part()
    assert swallowed


def test_a_part_does_not_start_without_time():
    with pytest.raises(TimeoutError, match='no time is left'), _until(time.monotonic()):
        pytest.fail('the part has started')


def until(end: float, seconds: list[float]):
    """So many seconds for each part in turn."""
    return _until(time.monotonic() + seconds.pop(0))


def test_targets_that_are_missed_are_named():
    results = [
        Result('frozen', train=[1.0, 2.0], infer=[1.0, 2.0]),
        Result('deep, 50 prompts', train=[1.1, 2.0], infer=[1.0, 2.0]),
        Result('deep, 200 prompts', train=[1.3, 2.4], infer=[1.5, 2.0]),
    ]
    missed, lines = _targets(results)
    assert len(lines.splitlines()) == 4
    assert [line.split(':')[0] for line in missed] == [
        'deep, 50 prompts, training step',
        'deep, 200 prompts, training step',
        'deep, 200 prompts, folded inference',
    ]
    assert '1.25 times the frozen baseline, target 1.10' in missed[1]


def test_what_does_not_hold_is_told():
    _, _, ours, usual = candidates(tiny(), dict(deep=Method(DEEP, ['head'])))
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
