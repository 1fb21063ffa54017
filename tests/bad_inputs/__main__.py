"""Try every bad file at every door: python -m bad_inputs [-v], in tests/."""

import argparse

import torch

from bad_inputs import KINDS
from bad_inputs.battery import attempt, table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('words', nargs='*', help='only the cases whose names have all of these words in them')
    parser.add_argument('-v', '--verbose', action='store_true', help='say what came of each case')
    args = parser.parse_args()
    torch.set_num_threads(1)  # as in the tests: experiments fork, and OpenMP's threads do not outlive that
    cases = [case for kind in KINDS for case in kind.cases() if all(word in str(case) for word in args.words)]
    for case in cases:
        found = attempt(case)
        if args.verbose or found.verdict != case.expected:
            print(f'{found.verdict.upper():9} {case}\n          {found.told}', flush=True)
    print(f'\n{table(cases)}')


if __name__ == '__main__':
    main()
