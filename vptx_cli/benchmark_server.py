"""Measure a server: answers a second and their times, with one task and with many, in turn:

vptx benchmark-server mini_vtab/vpt_deep --tasks 1 50 --requests 500 --clients 16 --rounds 5

Starts the server of vptx serve on this machine, with tasks that are drawn at random, and asks it over HTTP, an image in
each request. Clients and server share the processors. Prints a Markdown table.
"""

import argparse

from vptx_cli.arguments import add_config_arguments, at_least_1
from vptx_cli.serve import add_server_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_arguments(parser)
    parser.add_argument('--tasks', nargs='+', type=at_least_1, default=[1, 50], help='of the requests')
    parser.add_argument('--requests', type=at_least_1, default=500, help='of each round')
    parser.add_argument('--clients', type=at_least_1, default=16, help='that ask at a time')
    parser.add_argument('--size', type=at_least_1, default=224, help='of an image, pixels')
    parser.add_argument('--rounds', type=at_least_1, default=5, help='in each of which everyone has a turn')
    add_server_arguments(parser)


def run(args: argparse.Namespace) -> None:
    from tempfile import TemporaryDirectory

    try:
        import ray

        from vptx.serve.deployment import Settings
        from vptx.serve.load import draw_requests, draw_tasks, markdown, measure
        from vptx_cli.serve import read_config, start

        config = read_config(args)
        with TemporaryDirectory() as folder:
            names = draw_tasks(config, folder, max(args.tasks))
            settings = Settings(
                config=config.pretty_text,
                folder=folder,
                slots=len(names),
                batch=args.batch,
                wait=args.wait / 1000,
                replicas=args.replicas,
                threads=args.threads,
            )
            start(settings, '127.0.0.1', args.port, None, log=False)
            candidates = {
                f'{number} {"task" if number == 1 else "tasks"}': draw_requests(
                    names[:number], args.requests, args.size
                )
                for number in args.tasks
            }
            try:
                found = measure(f'http://127.0.0.1:{args.port}', candidates, args.rounds, args.clients)
            finally:
                ray.shutdown()
    except ImportError as error:
        raise SystemExit(f"vptx benchmark-server needs Ray Serve ({error}): pip install 'vptx[serve]'") from error
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(f'{type(error).__name__}: {error}') from error
    print(markdown(found))
