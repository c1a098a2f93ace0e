"""Each method: an epoch of training, prediction, and what a short training reaches."""

from benchmarks import common
from skdeepclust import METHODS
from skdeepclust.metrics import clustering_accuracy

NAMES = tuple(METHODS)


class Fit:
    """Setting up, one epoch, final clustering."""

    params = (NAMES, ("grey 8x8", "colour 32x32"))
    param_names = ("method", "data")
    timer = common.timer
    timeout = 300

    def setup(self, method, data):
        self.X = {
            "grey 8x8": common.blobs,
            "colour 32x32": lambda: common.random_images(512, side=32),
        }[data]()
        self.model = common.estimator(method, max_epochs=1)

    def time_fit_epoch(self, method, data):
        self.model.fit(self.X)

    def peakmem_fit_epoch(self, method, data):
        self.model.fit(self.X)


class Fitted:
    """What a fitted estimator does with images."""

    params = NAMES
    param_names = ("method",)
    timer = common.timer

    def setup_cache(self):
        X = common.blobs()
        return {name: common.estimator(name, max_epochs=1).fit(X) for name in NAMES}

    def setup(self, models, method):
        self.X = common.blobs()

    def time_predict(self, models, method):
        models[method].predict(self.X)

    def time_transform(self, models, method):
        models[method].transform(self.X)

    def peakmem_predict(self, models, method):
        models[method].predict(self.X)

    def peakmem_transform(self, models, method):
        models[method].transform(self.X)


class ShortTraining:
    """Digits after a few epochs: a fall of the accuracy tells of a broken method."""

    params = NAMES
    param_names = ("method",)
    unit = "ACC"
    timeout = 300

    def setup_cache(self):
        X, y = common.digits()
        labels = {name: common.estimator(name, max_epochs=5).fit_predict(X) for name in NAMES}
        return {name: clustering_accuracy(y, labels[name]) for name in NAMES}

    def track_accuracy(self, accuracies, method):
        return accuracies[method]
