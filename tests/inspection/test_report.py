import base64
import io
import json
import re
import sys

import numpy as np
import pytest
from PIL import Image
from sklearn import config_context
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skdeepclust import BackboneKMeans, CDCClustering, IDFDClustering
from skdeepclust.datasets import load_digits_images
from skdeepclust.inspection import ClusterGalleryDisplay, ClusterReport, EmbeddingDisplay
from skdeepclust.inspection._contents import link_to, relative_names
from skdeepclust.inspection._report import _SHEETS
from skdeepclust.inspection._thumbnails import _tile_size, make_sheets
from skdeepclust.inspection._verdict import curves, verdict
from skdeepclust.metrics import clustering_accuracy
from skdeepclust.model_selection import KSelection, TransductiveSplit

KINDS = {"f4": np.float32, "u2": np.uint16, "u4": np.uint32}


def unpack(packed):
    kind, text = packed
    return np.frombuffer(base64.b64decode(text), KINDS[kind])


def made(n=300, **options):
    images, target = load_digits_images(return_X_y=True)
    model = BackboneKMeans(10, backbone="identity", weights=None, random_state=0).fit(images[:n])
    options = {"map_method": "pca", **options}
    return model, images[:n], target[:n], ClusterReport.from_estimator(model, images[:n], **options)


def written(report, path):
    report.save(path)
    text = path.read_text(encoding="utf-8")
    return text, json.loads(re.search(r'id="report">(.*?)</script>', text, re.S)[1])


def folder_of(path, count=12, side=20):
    path.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        pixels = np.full((side, side, 3), (i % 2) * 200 + i, np.uint8)
        Image.fromarray(pixels).save(path / f"{i:03}.png")
    return path


def test_a_page_holds_every_image_with_its_cluster_and_neighbours(tmp_path):
    model, images, _, report = made()
    _, content = written(report, tmp_path / "a.html")
    index = unpack(content["images"]["index"])
    assert sorted(index) == list(range(300))
    position = unpack(content["images"]["label"])
    found = np.array([cluster["label"] for cluster in content["clusters"]])[position]
    assert (found == model.labels_[index]).all()
    assert [c["size"] for c in content["clusters"]] == np.bincount(model.labels_).tolist()

    near = unpack(content["images"]["near"]).reshape(300, 8)
    z = model.transform(images)[index]
    cosine = z @ z.T
    np.fill_diagonal(cosine, -np.inf)
    best = np.sort(cosine, axis=1)[:, ::-1][:, :8]
    np.testing.assert_allclose(np.take_along_axis(cosine, near.astype(int), 1), best, atol=1e-6)


def test_the_gallery_shows_the_most_certain_members_and_the_least(tmp_path):
    model, images, _, report = made()
    _, content = written(report, tmp_path / "a.html")
    index, proba = unpack(content["images"]["index"]), model.predict_proba(images)
    for cluster in content["clusters"]:
        k = cluster["label"]
        own = proba[model.labels_ == k, k]
        shown = proba[index[cluster["typical"]], k]
        assert (shown == np.sort(own)[::-1][: len(shown)]).all()
    own, lead = unpack(content["images"]["own"]), unpack(content["images"]["lead"])
    ranked = np.sort(proba[index], axis=1)
    np.testing.assert_allclose(own, ranked[:, -1])
    np.testing.assert_allclose(lead, ranked[:, -1] - ranked[:, -2], atol=1e-7)


def test_thumbnails_are_the_images_in_their_order(tmp_path):
    _, images, _, report = made()
    _, content = written(report, tmp_path / "a.html")
    sheet = Image.open(io.BytesIO(base64.b64decode(report.sheets[1])))
    width, height = content["tile"]
    assert sheet.size == (width * content["columns"], height * content["columns"])
    position = content["columns"] ** 2 + 13  # the second row of the second sheet
    tile = sheet.crop((3 * width, height, 4 * width, 2 * height)).convert("L").resize((8, 8))
    image = images[unpack(content["images"]["index"])[position]]
    scaled = image / images.max() * 255 if images.dtype != np.uint8 else image
    assert np.abs(np.asarray(tile, float) - scaled.reshape(8, 8)).mean() < 12


def test_the_page_of_10_000_images_stays_below_20_mb_whatever_they_show():
    noise = np.random.default_rng(0).integers(0, 256, (300, 96, 96, 3), dtype=np.uint8)
    share = len(noise) / 10_000
    worst = make_sheets(noise, range(300), int(_SHEETS * share))
    assert worst.width < 96  # they had to shrink
    assert sum(map(len, worst.files)) < share * 18e6  # all else on the page takes less than 2 MB
    plain = make_sheets(np.zeros_like(noise), range(300), int(_SHEETS * share))
    assert (plain.width, plain.height) == (96, 96)  # what there is, and no more


@pytest.mark.parametrize(
    ("height", "width", "side", "tile"),
    [
        (8, 8, 192, (96, 96)),  # twelve times
        (28, 20, 48, (20, 28)),
        (150, 100, 192, (100, 150)),  # no larger than it is
        (300, 600, 192, (192, 96)),
        (300, 600, 32, (32, 16)),
    ],
)
def test_tiles_keep_proportions_and_enlarge_by_whole_factors(height, width, side, tile):
    assert _tile_size(height, width, side) == tile


def test_many_images_become_a_sample_that_keeps_every_gallery(tmp_path):
    model, _, _, report = made(max_images=150)
    _, content = written(report, tmp_path / "a.html")
    assert len(unpack(content["images"]["index"])) == 150
    assert "this page shows 150" in report.summary
    for cluster in content["clusters"]:
        assert cluster["typical"]
        assert cluster["size"] == (model.labels_ == cluster["label"]).sum()


def test_more_clusters_than_images_on_the_page(tmp_path):
    images = load_digits_images().images[:60]
    z = images.reshape(60, -1)
    report = ClusterReport.from_predictions(
        images, np.arange(60), embedding=z, map_method="pca", max_images=20
    )
    _, content = written(report, tmp_path / "a.html")
    assert len(content["clusters"]) == 60
    assert len(unpack(content["images"]["index"])) == 20


def test_classes_stand_beside_their_clusters(tmp_path):
    model, _, target, report = made(y=None)
    assert report.content["confusion"] is None
    model, _, target, report = made(y=load_digits_images(return_X_y=True)[1][:300])
    _, content = written(report, tmp_path / "a.html")
    counts = np.array(content["confusion"]["counts"])
    accuracy = clustering_accuracy(target, model.labels_)
    assert counts.sum() == 300
    assert np.trace(counts) / 300 == pytest.approx(accuracy)
    words = content["confusion"]["words"]
    assert f"Accuracy {accuracy:.3f}" in words
    assert f"NMI {normalized_mutual_info_score(target, model.labels_):.3f}" in words
    assert f"ARI {adjusted_rand_score(target, model.labels_):.3f}" in words
    labels = np.array([cluster["label"] for cluster in content["clusters"]])
    for row, column in [(0, 0), (3, 3), (2, 5)]:
        k = labels[content["confusion"]["columns"][column]]
        c = int(content["classes"][content["confusion"]["rows"][row]])
        assert counts[row, column] == ((target == c) & (model.labels_ == k)).sum()


@pytest.mark.parametrize("n_clusters", [3, 14])
def test_classes_may_be_fewer_or_more_than_clusters(n_clusters, tmp_path):
    images, target = load_digits_images(return_X_y=True)
    labels = np.arange(200) % n_clusters
    report = ClusterReport.from_predictions(
        images[:200],
        labels,
        embedding=images[:200].reshape(200, -1),
        y=np.array([f"digit {t}" for t in target[:200]]),
        map_method="pca",
    )
    _, content = written(report, tmp_path / "a.html")
    counts = np.array(content["confusion"]["counts"])
    assert counts.shape == (10, n_clusters) and counts.sum() == 200
    assert np.trace(counts) == round(clustering_accuracy(target[:200], labels) * 200)


def test_more_classes_than_fit_are_cut(tmp_path):
    images = load_digits_images().images[:200]
    rng = np.random.default_rng(0)
    report = ClusterReport.from_predictions(
        images,
        rng.integers(0, 60, 200),
        embedding=images.reshape(200, -1),
        y=rng.integers(0, 70, 200),
        map_method="pca",
    )
    confusion = report.content["confusion"]
    assert np.shape(confusion["counts"]) == (40, 40)
    assert "shows 40 of" in confusion["words"]


def test_files_bear_their_names_and_a_link(tmp_path):
    folder = folder_of(tmp_path / "photos" / "a&b")
    (folder / "broken.png").write_text("no image")
    model = BackboneKMeans(2, backbone="identity", weights=None, random_state=0, on_error="skip")
    model.fit(folder)
    report = ClusterReport.from_estimator(model, folder, map_method="pca")
    _, content = written(report, tmp_path / "a.html")
    assert content["folder"] == "photos/a%26b/"
    assert sorted(content["images"]["names"]) == [f"{i:03}.png" for i in range(12)]
    assert content["skipped"] == ["broken.png"]
    assert max(content["tile"]) >= 80  # 20 pixels, enlarged


def test_names_of_sub_folders_and_of_no_files(tmp_path):
    paths = [str(folder_of(tmp_path / name, 1) / "000.png") for name in ("x", "y")]
    assert relative_names(paths) == (str(tmp_path), ["x/000.png", "y/000.png"])
    missing = [str(tmp_path / "00.png"), *paths]  # a link to nothing
    assert relative_names(missing) == (str(tmp_path), ["00.png", "x/000.png", "y/000.png"])
    assert relative_names(["X[0]", "X[1]"]) == (None, ["X[0]", "X[1]"])
    assert link_to(None, tmp_path) is None
    assert link_to(str(tmp_path / "p q"), tmp_path / "out") == "../p%20q/"


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text here")
def test_names_of_folders_need_be_no_text(tmp_path):
    folder = folder_of(tmp_path / "\udce9clair" / "photos")
    report = ClusterReport.from_predictions(
        folder,
        np.arange(12) % 2,
        embedding=np.eye(12),
        title="Clusters of \udce9clair",
        map_method="pca",
    )
    text, content = written(report, tmp_path / "a.html")
    assert content["folder"] == "%E9clair/photos/"
    assert "<h1>Clusters of ?clair</h1>" in text


def test_any_clusterer_can_be_reported_on():
    images = load_digits_images().images[:60].reshape(60, -1)
    model = KMeans(4, n_init=1, random_state=0).fit(images)
    model.image_shape_in_ = (1, 8, 8)
    model.history_ = [{"loss": 1.0}]  # of another library
    report = ClusterReport.from_estimator(model, images, map_method="pca")
    sizes = [cluster["size"] for cluster in report.content["clusters"]]
    assert sizes == np.bincount(model.labels_).tolist()
    [health] = report.content["health"]
    assert "Every cluster has members" in health["text"]  # of a collapse nobody knows


@pytest.mark.parametrize(
    "wrap",
    [
        lambda model: make_pipeline(FunctionTransformer(), model),
        lambda model: KSelection(model, [4], random_state=0),
        lambda model: GridSearchCV(model, {"embedding_dim": [8]}, cv=TransductiveSplit()),
        lambda model: make_pipeline(model, KMeans(4, n_init=1)),
    ],
)
def test_the_health_is_that_of_the_model_inside(wrap):
    images = load_digits_images().images[:100]
    model = IDFDClustering(4, max_epochs=2, embedding_dim=8, random_state=0)
    expected = ClusterReport.from_estimator(clone(model).fit(images), images, map_method="pca")
    report = ClusterReport.from_estimator(wrap(model).fit(images), images, map_method="pca")
    moved = [told["text"] for told in expected.content["health"] if "changed" in told["text"]]
    assert moved and set(moved) <= {told["text"] for told in report.content["health"]}
    assert [c["values"] for c in report.content["curves"] if c["name"] == "loss"] == [
        c["values"] for c in expected.content["curves"] if c["name"] == "loss"
    ]


def test_images_are_shown_as_they_are_before_a_step_that_changes_their_shape():
    images = load_digits_images().images[:60]
    halve = FunctionTransformer(lambda X: X[:, ::2, ::2])
    model = make_pipeline(halve, BackboneKMeans(3, backbone="identity", weights=None))
    shown = ClusterGalleryDisplay.from_estimator(model.fit(images), images)
    assert shown.figure_ is not None


@pytest.mark.parametrize("form", ["pandas", "polars"])
@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_what_transform_gives_elsewhere_does_not_matter(form, method):
    model, images, _, expected = made(40)
    with config_context(transform_output=form):
        report = ClusterReport.from_estimator(model, images, map_method=method)
        EmbeddingDisplay.from_estimator(model, images, method=method)
    if method == "pca":
        assert report.content["images"] == expected.content["images"]


def test_what_is_not_embedded_has_no_place():
    images = load_digits_images().images[:20]
    rows = images.reshape(20, -1).astype(float)
    rows[3] = np.nan
    labels = np.arange(20) % 2
    with pytest.raises(ValueError, match="embedding must be finite"):
        ClusterReport.from_predictions(images, labels, embedding=rows, map_method="pca")
    labels[3] = -1
    how = {"map_method": "pca", "title": None}
    report = ClusterReport.from_predictions(images, labels, embedding=rows, **how)
    assert (report.title, report.summary) == ("Clusters", "19 images in 2 clusters.")


def test_no_name_can_end_the_page(tmp_path):
    folder = folder_of(tmp_path / "photos")
    (folder / "000.png").rename(folder / "<script>alert(1)< script>.png")
    labels = np.arange(12) % 2
    report = ClusterReport.from_predictions(
        folder,
        labels,
        embedding=np.random.default_rng(0).normal(size=(12, 3)),
        y=np.where(labels, "</script><b>", "@title@"),
        title="<b>&@style@",
        map_method="pca",
    )
    text, content = written(report, tmp_path / "a.html")
    assert "<script>alert" not in text and "</script><b>" not in text
    assert "&lt;b&gt;&amp;@style@" in text
    assert set(content["classes"]) == {"</script><b>", "@title@"}


def test_the_page_replaces_another_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a.html"
    path.write_text("old")
    report = made(60)[-1]
    monkeypatch.setattr(report, "sheets", [object()])
    monkeypatch.setattr(ClusterReport, "_page", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        report.save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.html"] and path.read_text() == "old"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_images": 1}, "max_images"),
        ({"map_method": "sne"}, "map_method"),
        ({"y": [1, 2]}, "y must hold one class for each of"),
    ],
)
def test_bad_input(options, words):
    with pytest.raises(ValueError, match=words):
        made(60, **options)


def test_one_image_is_too_few():
    image = np.zeros((1, 8, 8), np.uint8)
    with pytest.raises(ValueError, match="at least 2 images"):
        ClusterReport.from_predictions(image, [0], embedding=[[1.0, 0.0]])


def test_vectors_have_no_page():
    rows = np.random.default_rng(0).normal(size=(30, 5))
    with pytest.raises(ValueError, match="vectors"):
        ClusterReport.from_predictions(rows, np.arange(30) % 2, embedding=rows)


# -- words ------------------------------------------------------------------------------------


class Fitted:
    cluster_centers_ = np.zeros((3, 16))
    net_ = None

    def __init__(self, **last):
        row = {"loss": 1.0, "label_change": 0.01, "feature_std": 0.25, "size_entropy": 1.0}
        self.history_ = [row | last]


@pytest.mark.parametrize(
    ("last", "sizes", "words"),
    [
        ({}, [10, 10, 10], "No sign of collapse"),
        ({"feature_std": 0.001}, [10, 10, 10], "representation has collapsed"),
        ({}, [98, 1, 1], "One cluster holds more than"),
        ({"mixing": 0.0}, [10, 10, 10], "Whole batches"),
        ({}, [10, 10, 0], "No image is in cluster 2"),
        ({"label_change": 0.3}, [10, 10, 10], "30% of the images still changed"),
    ],
)
def test_health_in_words(last, sizes, words):
    [told] = verdict(Fitted(**last), np.array(sizes))
    assert words in told["text"]
    assert told["kind"] == ("good" if "No sign" in words else "warning")


def test_curves_are_those_of_the_history():
    images = load_digits_images().images[:100]
    model = CDCClustering(3, max_epochs=3, random_state=0).fit(images)
    found = {curve["name"]: curve["values"] for curve in curves(model.history_)}
    assert next(iter(found)) == "loss"
    assert found["loss"] == [row["loss"] for row in model.history_]
    assert found["label_change"][0] is None  # nothing to compare with
    assert not {"epoch", "seconds"} & found.keys()
    assert curves([]) == []
    assert len(curves([{"loss": float(i)} for i in range(2000)])[0]["values"]) == 500
