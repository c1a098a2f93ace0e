"""A grid search on Dask workers finds what it finds in one process."""

import joblib
import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV

from skdeepclust import IDFDClustering
from skdeepclust.datasets import make_image_blobs
from skdeepclust.metrics import hungarian_accuracy_scorer
from skdeepclust.model_selection import TransductiveSplit

distributed = pytest.importorskip("dask.distributed")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of Dask and its event loop
def test_grid_search_on_two_workers():
    X, y = make_image_blobs(40, random_state=0)
    search = GridSearchCV(
        IDFDClustering(3, max_epochs=2, random_state=0),
        {"lr": [1e-3, 1e-2], "temperature": [0.5, 1.0]},
        scoring=hungarian_accuracy_scorer,
        cv=TransductiveSplit(),
        refit=False,
    )
    alone = search.fit(X, y).cv_results_["mean_test_score"]
    workers = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(**workers) as cluster, distributed.Client(cluster):
        with joblib.parallel_config("dask", scatter=[X]):
            together = search.fit(X, y).cv_results_["mean_test_score"]
    np.testing.assert_array_equal(together, alone)
