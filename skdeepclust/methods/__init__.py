"""One paper, one file: the estimator with its defaults, then the objective with its equations.

A new method is a file here and a line in the export table of the package's ``__init__``;
CONTRIBUTING shows one in full.
"""
