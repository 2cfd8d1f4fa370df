"""What can be expected of some versions of other libraries alone."""

import pytest
import sklearn

same_batches = pytest.mark.skipif(
    tuple(map(int, sklearn.__version__.split(".")[:2])) < (1, 9),
    reason="before 1.9 scikit-learn's MiniBatchKMeans drew its batches otherwise",
)
