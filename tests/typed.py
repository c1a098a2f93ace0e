"""What type checkers see of the package: mypy reads this file, and nobody runs it.

A comment that ignores an error fails the check where there is no such error.
"""

from typing import assert_type

import numpy as np

from skdeepclust import BackboneKMeans, IDFDClustering, ProPosClustering, SeCuClustering
from skdeepclust.model_selection import KSelection


def typed() -> None:
    model = ProPosClustering(3, temperature=0.5, backbone="resnet18", max_epochs=2)
    assert_type(model.fit("photographs/"), ProPosClustering)
    assert_type(model.fit("photographs/").labels_, np.ndarray)
    assert_type(model.predict("photographs/"), np.ndarray)
    assert_type(model.transform("photographs/"), np.ndarray)
    assert_type(model.score("photographs/"), float)
    assert_type(SeCuClustering.from_recipe("cifar10", max_epochs=2), SeCuClustering)
    assert_type(IDFDClustering().set_params(lr=0.1), IDFDClustering)
    assert_type(KSelection(model).fit("photographs/"), KSelection)

    ProPosClustering(n_clusters=3, tempereture=1)  # type: ignore[call-arg]
    ProPosClustering(3, "resnet18")  # type: ignore[call-arg]
    IDFDClustering(n_clusters="3")  # type: ignore[arg-type]
    BackboneKMeans(n_clusters=3, n_int=1)  # type: ignore[call-arg]
    KSelection(model, criterium="merge")  # type: ignore[call-arg]
    model.fit_all("photographs/")  # type: ignore[attr-defined]
