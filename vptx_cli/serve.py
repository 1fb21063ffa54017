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
import time
from pathlib import Path
from typing import TYPE_CHECKING

from vptx_cli.arguments import add_config_arguments, at_least_1

if TYPE_CHECKING:
    from mmengine.config import Config

    from vptx.serve.deployment import Settings

#: Bytes of Ray's object store: images of requests that wait. Its own default is a third of the memory.
STORE = 512 * 2**20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_arguments(parser)
    parser.add_argument('--prompts', required=True, type=Path, metavar='FOLDER', help='of the prompt files')
    parser.add_argument('--host', default='127.0.0.1', help='address to listen to; 0.0.0.0 for all of this machine')
    parser.add_argument('--token-file', type=Path, help='holds the token for changes; else the variable VPTX_TOKEN')
    parser.add_argument('--slots', type=at_least_1, default=64, help='tasks that are ready at a time')
    parser.add_argument('--queue', type=at_least_1, default=1024, help='answers that may be waited for')
    parser.add_argument('--device', default='cpu', help='such as cuda')
    parser.add_argument('--address', help='of a Ray cluster; by default Ray is started on this machine')
    add_server_arguments(parser)


def add_server_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the server that ``vptx benchmark-server`` has, too."""
    parser.add_argument('--port', type=int, default=8000, help='of HTTP')
    parser.add_argument('--batch', type=at_least_1, default=32, help='the most samples of a batch')
    parser.add_argument('--wait', type=float, default=10, metavar='MS', help='that a batch waits for more samples')
    parser.add_argument('--replicas', type=at_least_1, default=1, help='processes with a bank')
    parser.add_argument('--threads', type=at_least_1, default=1, help='of each of them')


def run(args: argparse.Namespace) -> None:
    try:
        serve(args)
    except (FileNotFoundError, ImportError, ValueError) as error:
        raise SystemExit(f'{type(error).__name__}: {error}') from error


def serve(args: argparse.Namespace) -> None:
    config = read_config(args)
    try:
        from vptx.serve.app import Limits, token_hash
        from vptx.serve.deployment import Settings
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
    start(settings, args.host, args.port, args.address)
    print(f'serving {args.prompts} at http://{args.host}:{args.port}', flush=True)
    if not token:
        print('without a token: tasks cannot be changed over HTTP', flush=True)
    wait()


def read_config(args: argparse.Namespace) -> 'Config':
    """The config of a classifier or a segmentor, with the options of the command."""
    from vptx.configs import read_config
    from vptx.settings import check_options

    config = read_config(args.config, args.net)
    check_options(config, args.cfg_options)
    config.merge_from_dict(args.cfg_options)
    return config


def start(settings: 'Settings', host: str, port: int, address: str | None, log: bool = True) -> None:
    """Start the server, and wait until there are answers."""
    from ray import serve

    from vptx.cluster import join
    from vptx.serve.deployment import application

    os.environ.setdefault('RAY_worker_niceness', '0')  # Ray's own is 15, which gives way to all others
    join(address or 'local', log, configure_logging=False, include_dashboard=False, object_store_memory=STORE)
    try:
        serve.start(http_options=dict(host=host, port=port))
    except TimeoutError:  # in a minute; on a busy machine it takes longer
        print('still waiting for the processes of Ray Serve', flush=True)
    serve.run(application(settings), name='vptx')
    while 'HEALTHY' not in serve.status().proxies.values():
        time.sleep(0.5)


def wait() -> None:
    """Until Ctrl-C, or a signal to end."""
    import signal

    from ray import serve

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        print('shutting down', flush=True)
        serve.shutdown()
