"""
Go on after a crash, and keep the model
=======================================

A long training is interrupted sooner or later. With ``checkpoint=`` it goes on where it was, to bit
for bit the same result. What has been trained is then kept in one file.
"""

import tempfile
from pathlib import Path

import numpy as np
from skorch.callbacks import Callback

from skdeepclust import IDFDClustering, load
from skdeepclust.datasets import load_digits_images
from skdeepclust.inspection import TrainingCurvesDisplay
from skdeepclust.persistence import read_card

images, _ = load_digits_images(return_X_y=True)
images = images[:600]
folder = Path(tempfile.mkdtemp())
settings = {"n_clusters": 10, "backbone": "mlp", "max_epochs": 20, "random_state": 0}

# %%
# A crash
# -------
#
# A callback of skorch that raises an error in epoch 13 plays the crash. A power cut would do as
# well: a state is written after each epoch, and the one before it is kept until it is on the disk.


class Crash(Callback):
    def on_epoch_begin(self, net, **kwargs):
        if net.run.epoch == 12:
            raise RuntimeError("the lights went out")


try:
    IDFDClustering(**settings, checkpoint=folder / "run", callbacks=[Crash()]).fit(images)
except RuntimeError as error:
    print("RuntimeError:", error)

# %%
# Run the same script again
# -------------------------
#
# ``fit`` finds the folder and trains the eight epochs that are missing. Other images or parameters
# would be refused. The history has all epochs, and nobody sees where the crash was:

model = IDFDClustering(**settings, checkpoint=folder / "run").fit(images)
print("epochs:", model.n_iter_)

shown = ["loss", "label_change", "feature_std", "lr"]
curves = TrainingCurvesDisplay.from_estimator(model, quantities=shown)
for ax in curves.axes_:
    ax.axvline(12.5, color="#bd1f01", linewidth=1)
curves.axes_[0].annotate(" crash", (12.5, 0.9), xycoords=("data", "axes fraction"), color="#bd1f01")

# %%
# The same as without a crash, in every bit:

unbroken = IDFDClustering(**settings).fit(images)
print("equal labels:", np.array_equal(model.labels_, unbroken.labels_))
print("equal embeddings:", np.array_equal(model.transform(images), unbroken.transform(images)))

# %%
# Keep the model
# --------------
#
# One file, which holds data only: nothing in it is run when it is loaded, unlike a pickle. A card
# tells readers what it is.

model.save(folder / "digits.safetensors", card={"license": "BSD-3-Clause"})
again = load(folder / "digits.safetensors")
print("equal predictions:", np.array_equal(again.predict(images), model.labels_))

card = read_card(folder / "digits.safetensors")
print(card["method"], card["license"])
