"""Each method: an epoch of training, prediction, and what a short training reaches."""

from benchmarks import common
from skdeepclust.metrics import clustering_accuracy


class FitSmallGrey(common.Estimator):
    """8 x 8 pixels, one channel: where overhead tells."""

    def data(self):
        return common.blobs()


class FitColour(common.Estimator):
    """32 x 32 pixels, three channels: where the convolutions tell."""

    def data(self):
        return common.random_images(common.PROFILE["images"] // 2)


class Inference(common.Predictor, common.Transformer):
    """Prediction and embedding; beside the images, memory must not grow with their number."""

    def images(self, n_images):
        return common.random_images(n_images)


class OnePhotograph:
    """A single image of 224 x 224 pixels: what a program that asks for its cluster waits for."""

    timer = common.timer
    timeout = 600

    def setup_cache(self):
        model = common.estimator("IDFDClustering", backbone="resnet18", max_epochs=1, batch_size=8)
        return model.fit(common.random_images(16, side=224))

    def setup(self, model):
        self.X = common.random_images(1, side=224)

    def time_predict(self, model):
        model.predict(self.X)

    def peakmem_predict(self, model):
        model.predict(self.X)


class ShortTraining:
    """Digits after a few epochs: a fall of the accuracy tells of a broken method."""

    params = common.METHODS
    param_names = ("method",)
    unit = "ACC"
    timeout = 600

    def setup_cache(self):
        X, y = common.digits()
        models = {name: common.estimator(name, max_epochs=5) for name in common.METHODS}
        return {name: clustering_accuracy(y, models[name].fit_predict(X)) for name in models}

    def track_accuracy(self, accuracies, method):
        return accuracies[method]
