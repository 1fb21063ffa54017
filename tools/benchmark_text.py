"""The command ``vptx benchmark-text``: python tools/benchmark_text.py --help"""

from vptx_cli import main

if __name__ == '__main__':
    main('benchmark-text')
