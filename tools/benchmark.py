"""The command ``vptx benchmark``: python tools/benchmark.py --help"""

from vptx_cli import main

if __name__ == '__main__':
    main('benchmark')
