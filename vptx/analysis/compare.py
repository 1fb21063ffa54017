"""Methods side by side: the learning rate chosen on validation, the figure from the test split, over several seeds."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean

from mmengine.config import Config
from mmengine.registry import DefaultScope

from vptx.cli import make_runner
from vptx.files import write_whole

__all__ = ['Row', 'compare', 'markdown']

METRIC = 'accuracy/top1'


@dataclass
class Row:
    """What a method reached.

    Attributes:
        name: of its config.
        lr: the learning rate that was best on validation.
        val: accuracy on validation at that rate, with the first seed, in per cent.
        test: accuracy on the test split with each seed, in per cent.
        trained: number of trained values.
        kilobytes: size of the prompt file.
    """

    name: str
    lr: float
    val: float
    test: list[float]
    trained: int
    kilobytes: float


def _run(config: Config, folder: Path, lr: float, seed: int, split: str) -> dict:
    """Train (once; a finished run is found again) and evaluate the last epoch on ``split``."""
    result = folder / f'lr{lr:g}_seed{seed}' / f'{split}.json'
    if result.is_file():
        return json.loads(result.read_text())
    config = Config(config.to_dict())
    config.work_dir = str(result.parent)
    config.experiment_name = '_'.join(result.parent.parts[-2:]) + f'_{split}'
    config.launcher = 'none'
    config.optim_wrapper.optimizer.lr = lr
    config.randomness = dict(seed=seed)
    config.train_cfg.val_interval = config.train_cfg.max_epochs
    config.visualizer.vis_backends = []
    trained = result.parent / 'prompt.safetensors'
    DefaultScope.overwrite_default_scope(config.default_scope)
    if not trained.is_file():
        config.resume = True
        make_runner(config).train()
    runner_config = Config(config.to_dict())
    runner_config.resume, runner_config.load_from = False, str(trained)
    runner_config.experiment_name += '_eval'
    if split == 'val':
        runner_config.test_dataloader, runner_config.test_evaluator = config.val_dataloader, config.val_evaluator
    runner = make_runner(runner_config)
    metrics = runner.test()
    found = dict(
        accuracy=metrics[METRIC],
        trained=sum(p.numel() for p in runner.model.parameters() if p.requires_grad),
        kilobytes=trained.stat().st_size / 1024,
    )
    write_whole(result, json.dumps(found).encode())
    return found


def _keep_apart(config: Config, folder: Path) -> None:
    """Refuse to mix runs of a config with those of the same config before it was changed."""
    record = folder / 'config.py'
    if record.is_file() and record.read_text() != config.pretty_text:
        raise ValueError(f'{folder} holds runs of another version of this config: remove it, or give another --out')
    write_whole(record, config.pretty_text.encode())


def compare(configs: Sequence[str], factors: Sequence[float], seeds: Sequence[int], out: str | Path) -> list[Row]:
    """Train every config at ``factors`` times its learning rate, choose on validation, test the choice.

    Selection uses the first seed and never sees the test split. Ties go to the smaller rate. What is finished is kept
    under ``out`` and not run again.

    Args:
        configs: config files.
        factors: multiples of each config's own learning rate.
        seeds: of the runs on the test split.
        out: folder of the runs.

    Raises:
        ValueError: ``out`` holds runs of a config that has changed since.
    """
    rows = []
    for path in configs:
        config, folder = Config.fromfile(path), Path(out) / Path(path).stem
        _keep_apart(config, folder)
        base = config.optim_wrapper.optimizer.lr
        scores = {base * f: _run(config, folder, base * f, seeds[0], 'val')['accuracy'] for f in sorted(factors)}
        lr = max(scores, key=lambda rate: scores[rate])
        tests = [_run(config, folder, lr, seed, 'test') for seed in seeds]
        rows.append(
            Row(
                name=Path(path).stem,
                lr=lr,
                val=scores[lr],
                test=[found['accuracy'] for found in tests],
                trained=tests[0]['trained'],
                kilobytes=tests[0]['kilobytes'],
            )
        )
        write_whole(Path(out) / 'table.json', json.dumps([asdict(row) for row in rows], indent=1).encode())
        print(markdown(rows), flush=True)
    return rows


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table: mean (lowest to highest) over the seeds."""
    lines = [
        '| config | lr | val % | test %, mean (range) | trained | prompt file |',
        '|---|---:|---:|---:|---:|---:|',
    ]
    lines += [
        f'| {row.name} | {row.lr:g} | {row.val:.1f} | {mean(row.test):.1f} ({min(row.test):.1f} to '
        f'{max(row.test):.1f}) | {row.trained:,} | {row.kilobytes:,.0f} kB |'
        for row in rows
    ]
    return '\n'.join(lines)
