"""The command ``vptx benchmark-bank``: python tools/benchmark_bank.py --help"""

from vptx_cli import main

if __name__ == '__main__':
    main('benchmark-bank')
