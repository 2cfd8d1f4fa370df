"""scikit-learn's own tests, from its wheel, on fastseg's estimators in their place.

    python benchmarks/scikit_learn_tests.py

Prints for each file of tests how many pass and fail, and of those that fail the names and
reasons.
"""

import os
import re
import subprocess
import sys
from collections import Counter

import sklearn

MODULES = [
    "sklearn.cluster.tests.test_k_means",
    "sklearn.cluster.tests.test_bisect_k_means",
    "sklearn.cluster.tests.test_spectral",
    "sklearn.cluster.tests.test_bicluster",
    "sklearn.preprocessing.tests.test_discretization",
]

RUN = (
    "import os, sys, pytest, fastseg; fastseg.patch_sklearn();"
    "sys.exit(pytest.main(['-q', '-c', os.devnull, '-p', 'no:cacheprovider', '-W', 'ignore',"
    "'--tb=line', '-rfE', '--pyargs', sys.argv[1]]))"
)


def main() -> None:
    """Run each file in a process of its own and print what came of it."""
    print(f"scikit-learn {sklearn.__version__}")
    for module in MODULES:
        command = [sys.executable, "-c", RUN, module]
        # Wide enough for the reasons at the end of the lines.
        wide = {**os.environ, "COLUMNS": "400"}
        done = subprocess.run(command, capture_output=True, text=True, env=wide)
        lines = done.stdout.splitlines()
        print(f"\n{module}: {lines[-1] if lines else 'did not start'}")
        failed = [
            re.search(r"::(\w+).*?(?: - (.*))?$", line)
            for line in lines
            if line.startswith(("FAILED", "ERROR"))
        ]
        names = Counter((match[1], match[2] or "") for match in failed if match)
        for (name, reason), n in sorted(names.items()):
            print(f"  {n:3}  {name}  {reason[:90]}")


if __name__ == "__main__":
    main()
