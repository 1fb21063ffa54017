"""The command ``vptx report``: python tools/report.py --help"""

from vptx_cli import main

if __name__ == '__main__':
    main('report')
