"""The method that CONTRIBUTING.md adds works as it stands there."""

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import adjusted_rand_score

CONTRIBUTING = Path(__file__).parents[1] / "CONTRIBUTING.md"


@pytest.fixture
def fifth_method(tmp_path, monkeypatch):
    """Return the estimator, imported from a file as a real method is."""
    [code] = re.findall(r"^```python\n(.*?)^```$", CONTRIBUTING.read_text("utf-8"), re.M | re.S)
    path = tmp_path / "deepcluster.py"
    path.write_text(code, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("deepcluster", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "deepcluster", module)
    spec.loader.exec_module(module)
    return module.DeepClusterClustering


def test_the_fifth_method_clusters(fifth_method, digits):
    images, target = digits
    model = fifth_method(10, max_epochs=20, batch_size=32, random_state=0)
    labels = model.fit_predict(images)

    assert adjusted_rand_score(target, labels) > 0.4
    assert np.array_equal(labels, model.predict(images))
    assert model.history_[-1]["classification"] < model.history_[0]["classification"]
    assert model.transform(images).shape == (len(images), model.embedding_dim)


def test_the_fifth_method_is_an_estimator_like_the_others(fifth_method, digits):
    assert "temperature : float" in fifth_method.__doc__
    assert "n_clusters : int" in fifth_method.__doc__
    assert clone(fifth_method(3, temperature=0.5)).get_params()["temperature"] == 0.5
    with pytest.raises(ValueError, match="temperature"):
        fifth_method(temperature=-1.0).fit(digits[0])
