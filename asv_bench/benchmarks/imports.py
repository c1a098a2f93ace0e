"""What importing costs beyond what every user of the dependencies pays."""

import statistics
import subprocess
import sys
from pathlib import Path

import skdeepclust

PACKAGE = "import skdeepclust"
ESTIMATOR = "from skdeepclust import ProPosClustering"
HOME = Path(skdeepclust.__file__).parents[1]  # so that a tree that is not installed is found
SCRIPT = """
import time
start = time.process_time()
{}
print(time.process_time() - start)
"""


def seconds(statement, repeats=3):
    """Median processor time of a statement, each time in a fresh interpreter."""
    command = [sys.executable, "-c", SCRIPT.format(statement)]
    outputs = [subprocess.check_output(command, text=True, cwd=HOME) for _ in range(repeats)]
    return statistics.median(map(float, outputs))


class Import:
    """Ours, less what a user of the dependencies pays anyway."""

    unit = "s"
    timeout = 300

    def track_package_beyond_sklearn(self):
        return seconds(PACKAGE) - seconds("import sklearn.base")

    def track_estimator_beyond_torch_and_skorch(self):
        return seconds(ESTIMATOR) - seconds("import torch, skorch")
