"""The command ``vptx benchmark-server``: python tools/benchmark_server.py --help"""

from vptx_cli import main

if __name__ == '__main__':
    main('benchmark-server')
