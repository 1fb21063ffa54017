"""Serve many tasks on one frozen network over HTTP, with a page to try them:

vptx serve CONFIG --prompts FOLDER
VPTX_TOKEN=... vptx serve CONFIG --prompts FOLDER --replicas 2 --port 8000

FOLDER holds a prompt file for each task, NAME.safetensors. Files that are put there, replaced or taken away are so at
once. Over HTTP, PUT and DELETE /tasks/NAME do that, with the token that the environment variable VPTX_TOKEN or the file
of --token-file has. CONFIG is of a classifier or a segmentor; its prompter and the number of its classes do not matter,
each task has its own.

It needs pip install 'vptx[serve]'. With --address it runs on a Ray cluster, where all machines see CONFIG and FOLDER.
"""

import argparse
import os
from pathlib import Path

from vptx_cli.arguments import add_config_arguments, at_least_1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_arguments(parser)
    parser.add_argument('--prompts', required=True, type=Path, metavar='FOLDER', help='of the prompt files')
    parser.add_argument('--host', default='127.0.0.1', help='address to listen to; 0.0.0.0 for all of this machine')
    parser.add_argument('--port', type=int, default=8000, help='of HTTP')
    parser.add_argument('--token-file', type=Path, help='holds the token for changes; else the variable VPTX_TOKEN')
    parser.add_argument('--slots', type=at_least_1, default=64, help='tasks that are ready at a time')
    parser.add_argument('--batch', type=at_least_1, default=32, help='the most samples of a batch')
    parser.add_argument('--wait', type=float, default=10, metavar='MS', help='that a batch waits for more samples')
    parser.add_argument('--queue', type=at_least_1, default=1024, help='answers that may be waited for')
    parser.add_argument('--replicas', type=at_least_1, default=1, help='processes with a bank')
    parser.add_argument('--threads', type=at_least_1, default=1, help='of each of them')
    parser.add_argument('--device', default='cpu', help='such as cuda')
    parser.add_argument('--address', help='of a Ray cluster; by default Ray is started on this machine')


def run(args: argparse.Namespace) -> None:
    try:
        serve(args)
    except (FileNotFoundError, ImportError, ValueError) as error:
        raise SystemExit(f'{type(error).__name__}: {error}') from error


def serve(args: argparse.Namespace) -> None:
    from vptx.configs import read_config
    from vptx.settings import check_options

    config = read_config(args.config, args.net)
    check_options(config, args.cfg_options)
    config.merge_from_dict(args.cfg_options)
    try:
        import ray
        from ray import serve as ray_serve

        from vptx.serve.app import Limits, token_hash
        from vptx.serve.deployment import Settings, application
    except ImportError as error:
        raise ImportError(f"vptx serve needs Ray Serve ({error}): pip install 'vptx[serve]'") from error
    token = args.token_file.read_text().strip() if args.token_file else os.environ.pop('VPTX_TOKEN', '').strip()
    settings = Settings(
        config=config.pretty_text,
        folder=str(args.prompts.absolute()),
        slots=args.slots,
        device=args.device,
        batch=args.batch,
        wait=args.wait / 1000,
        replicas=args.replicas,
        threads=args.threads,
        token=token_hash(token) if token else None,
        limits=Limits(queue=args.queue),
    )
    os.environ.setdefault('RAY_raylet_start_wait_time_s', '120')  # of a machine that is at work already
    options = dict(address=args.address) if args.address else dict(include_dashboard=False)
    ray.init(log_to_driver=True, configure_logging=False, **options)
    ray_serve.start(http_options=dict(host=args.host, port=args.port))
    ray_serve.run(application(settings), name='vptx')
    print(f'serving {args.prompts} at http://{args.host}:{args.port}', flush=True)
    if not token:
        print('without a token: tasks cannot be changed over HTTP', flush=True)
    wait()


def wait() -> None:
    """Until Ctrl-C, or a signal to end."""
    import signal
    import time

    from ray import serve

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        print('shutting down', flush=True)
        serve.shutdown()
