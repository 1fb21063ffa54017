"""Compare methods, learning rates chosen on validation: python tools/compare.py configs/mini/digits_*.py"""

import argparse

from vptx.analysis.compare import compare


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('configs', nargs='+', help='config files')
    parser.add_argument('--factors', nargs='+', type=float, default=[0.3, 1, 3], help="of each config's learning rate")
    parser.add_argument('--seeds', nargs='+', type=int, default=[42, 43, 44], help='of the runs on the test split')
    parser.add_argument('--out', default='work_dirs/compare', help='folder of the runs; finished ones are kept')
    args = parser.parse_args()
    compare(args.configs, args.factors, args.seeds, args.out)


if __name__ == '__main__':
    main()
