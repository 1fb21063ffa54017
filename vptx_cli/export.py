"""Export a trained model to a file that runs without vptx: ONNX, OpenVINO or a program of torch.export:

vptx export CONFIG PROMPT_FILE model.onnx
vptx export CONFIG PROMPT_FILE model.onnx model.xml model.pt2
vptx export CONFIG PROMPT_FILE graph.onnx --graph           # the frozen network, for many tasks
vptx export CONFIG PROMPT_FILE flowers.safetensors --task   # what one of them learnt, as inputs of that graph

With --rounds 10, the model, folded and compiled too, and the files are timed in turns. PROMPT_FILE may be the word none
for that: how long a model takes does not depend on what it has learnt.

The graph takes RGB images (B, 3, H, W) of one size, in batches of any number, and gives logits. The normalisation of
pixels is inside. Repeat the --cfg-options of the run.
"""

import argparse
from pathlib import Path

from vptx_cli.arguments import add_config_arguments, at_least_1
from vptx_cli.bar import bar
from vptx_cli.predict import check_untrained


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_arguments(parser)
    parser.add_argument('prompt_file', help="a prompt file (.safetensors), hf://user/name, a run's .pth, or none")
    parser.add_argument(
        'out', nargs='+', type=Path, help='.onnx, .xml (OpenVINO) or .pt2 (torch.export); .safetensors of --task'
    )
    parser.add_argument('--rounds', type=at_least_1, help='then compare the speed of model and files in so many rounds')
    parser.add_argument('--batch', type=at_least_1, nargs='+', default=[1], help='images, in these rounds')
    parser.add_argument('--clock', choices=['wall', 'cpu'], default='wall', help='cpu: time given to the process')
    parser.add_argument(
        '--compiler', default='inductor', help='backend of torch.compile in these rounds; none: without'
    )
    parser.add_argument('--quiet', action='store_true', help='no bar while several files are written')
    parser.add_argument('--size', type=int, nargs='+', metavar='PIXELS', help="of an image, H W; else the network's")
    parser.add_argument('--uint8', action='store_true', help='images of whole numbers from 0 to 255; else from 0 to 1')
    parser.add_argument(
        '--fold',
        action=argparse.BooleanOptionalAction,
        help='keys and values of prompts as constants; by default where that is possible',
    )
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument('--graph', action='store_true', help='prompts and heads are inputs of the graph')
    kind.add_argument('--task', action='store_true', help='prompts and head alone, as such inputs')


def run(args: argparse.Namespace) -> None:
    import vptx
    from vptx.benchmark.deployed import latencies, latency_table
    from vptx.configs import read_config
    from vptx.export import export_graph, export_model, export_task

    if args.size and len(args.size) > 2:
        raise SystemExit(f'--size takes one number or two, not {len(args.size)}')
    if args.rounds and (args.graph or args.task):
        raise SystemExit('--rounds compares whole models with their files: leave --graph and --task out')
    size = (args.size * 2)[:2] if args.size else None
    try:
        config = read_config(args.config, args.net)
        config.merge_from_dict(args.cfg_options)
        model = vptx.init_model(config, None if args.prompt_file == 'none' else args.prompt_file)
        if args.prompt_file == 'none' and not args.rounds:
            check_untrained(model)
        for out in bar(args.out, len(args.out), 'files', args.quiet):
            if args.task:
                facts = export_task(model, out)
            elif args.graph:
                facts = export_graph(model, out, size, args.uint8)
            else:
                facts = export_model(model, out, size, args.uint8, args.fold)
            weights = out.with_suffix('.bin')  # of OpenVINO, next to the graph
            written, (height, width) = [out, *[weights] * (out.suffix == '.xml')], facts['size']
            kilobytes = sum(file.stat().st_size for file in written) / 1024
            print(f'{out}: {kilobytes:,.0f} kB, {facts["network"]}, images of {height} x {width}')
            if 'difference' in facts:
                print(f'largest difference from the model: {facts["difference"]:.1e}')
        if args.rounds:
            compiler = None if args.compiler == 'none' else args.compiler
            for batch in args.batch:
                timing = batch, args.rounds, args.clock, args.uint8, size, compiler
                print(f'\n{batch} image{"s" * (batch > 1)}\n\n{latency_table(latencies(model, args.out, *timing))}')
    except (FileNotFoundError, ImportError, ValueError) as error:
        raise SystemExit(str(error)) from error
