"""Many runs: a grid, the choice on validation, seeds, tables, reports."""
