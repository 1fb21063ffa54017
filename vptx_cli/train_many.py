"""Train many tasks side by side over one frozen network, and test each at its end:

vptx train-many mini_vtab/vpt_deep --tasks all
vptx train-many mini_vtab/vpt_deep --tasks mini_digits mini_photos --work-dir work_dirs/two
vptx train-many mini_vtab/vpt_deep --tasks all --apart     # one after the other, to compare the time

Each task learns what it would have learnt alone, and leaves its own log, checkpoint and prompt.safetensors in a folder
of its name. The files of all tasks are copied to WORK_DIR/prompts, a folder for vptx serve. Of a config whose tasks are
of several suites, all means those of its own.
"""

import argparse
from pathlib import Path

from vptx_cli.arguments import add_config_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_arguments(parser)
    parser.add_argument('--tasks', nargs='+', default=['all'], help="of the config's suite, or all")
    parser.add_argument('--work-dir', type=Path, help='by default work_dirs/<name of the config>_together')
    parser.add_argument('--apart', action='store_true', help='one after the other, each alone, to compare the time')


def run(args: argparse.Namespace) -> None:
    try:
        train(args)
    except (FileNotFoundError, ImportError, ValueError) as error:
        raise SystemExit(f'{type(error).__name__}: {error}') from error


def train(args: argparse.Namespace) -> None:
    import time
    from copy import deepcopy
    from shutil import copyfile

    from vptx.configs import find_own_modules, make_runner, read_config
    from vptx.datasets.suites import TASKS, set_task
    from vptx.settings import check_config, check_options
    from vptx.studies.together import train_together

    find_own_modules()
    config = read_config(args.config, args.net)
    check_options(config, args.cfg_options)
    config.merge_from_dict(args.cfg_options)
    check_config(config)
    out = args.work_dir or Path('work_dirs') / f'{Path(args.config).stem}_together'
    own = config.train_dataloader.dataset.get('task')
    if own is None:
        raise ValueError(f'{args.config} is of no suite of tasks: its data set has no task')
    names = [n for n, t in TASKS.items() if t.suite == TASKS[own].suite] if args.tasks == ['all'] else args.tasks
    configs = {}
    for name in names:
        configs[name] = deepcopy(config)
        set_task(configs[name], name)
        configs[name].work_dir = str(out / name)
        for unused in ('grid', 'method_grid', 'final', 'variants'):
            configs[name].pop(unused, None)
    started, clock = time.perf_counter(), time.process_time()
    if args.apart:
        runners = {}
        for name in names:
            configs[name].experiment_name = name  # by which MMEngine keeps loggers
            runners[name] = make_runner(configs[name])
            runners[name].train()
    else:
        runners = train_together(configs, lambda name: print(f'{name} is trained', flush=True))
    print(
        f'{len(names)} tasks in {time.perf_counter() - started:.0f} s, {time.process_time() - clock:.0f} s of processor'
    )
    (out / 'prompts').mkdir(parents=True, exist_ok=True)
    for name, runner in runners.items():
        if runner.cfg.get('test_dataloader'):
            figures = ', '.join(
                f'{figure} {value:.1f}' for figure, value in runner.test().items() if 'time' not in figure
            )
            print(f'{name}: {figures}', flush=True)
        prompt = out / name / 'prompt.safetensors'
        if prompt.is_file():
            copyfile(prompt, out / 'prompts' / f'{name}.safetensors')
    print(f'prompt files of all tasks: {out / "prompts"}')
