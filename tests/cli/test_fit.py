import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image

from skdeepclust import CDCClustering, cli, load
from skdeepclust.backbones import make_backbone
from skdeepclust.cli._results import classes_of
from skdeepclust.datasets import load_digits_images
from skdeepclust.engine.net import ObjectiveNet
from skdeepclust.metrics import clustering_accuracy
from skdeepclust.persistence import read_card

ROOT = Path(__file__).parents[2]
pytestmark = [  # hardly trained
    pytest.mark.filterwarnings("ignore::skdeepclust.CollapseWarning"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]
PLAIN = ["--method", "kmeans", "--set", "backbone=identity", "--set", "weights=None"]
FAST = ["--method", "cdc", "--epochs", "2", "--map", "pca", "--set", "backbone=mlp"]


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Digits as files, in a folder for each class."""
    images, target = load_digits_images(return_X_y=True)
    for i, (image, digit) in enumerate(zip(images[:60], target[:60], strict=True)):
        folder = tmp_path / "photos" / str(digit)
        folder.mkdir(parents=True, exist_ok=True)
        pixels = (image.reshape(8, 8) * 255 / images.max()).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:03}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def refused(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    out, err = capsys.readouterr()
    assert stopped.value.code == 2 and out == "" and err.count("\n") == 1, err
    return err


def test_a_folder_becomes_labels_a_model_and_a_page(photos, capsys):
    assert cli.main(["fit", "photos", "-k", "4", *FAST]) == 0
    out = capsys.readouterr().out
    assert "60 images, seen as 1 x 8 x 8" in out
    labels = rows("photos_clusters/labels.csv")
    names = sorted(path.relative_to(photos).as_posix() for path in photos.rglob("*.png"))
    assert [row["file"] for row in labels] == names
    model = load("photos_clusters/model/model.safetensors")
    assert [int(row["cluster"]) for row in labels] == model.labels_.tolist()
    assert "<!doctype html>" in Path("photos_clusters/report.html").read_text()
    assert not Path("photos_clusters/checkpoint").exists()
    alone = CDCClustering(4, backbone="mlp", max_epochs=2, random_state=0).fit("photos")
    assert (alone.labels_ == model.labels_).all()


def test_the_answer_for_programs(photos, capsys):
    command = ["fit", "photos", "-k", "10", "--classes", "folders", "--sort", "symlink"]
    assert cli.main([*command, "--out", "there", "--json", *FAST]) == 0
    found = json.loads(capsys.readouterr().out)
    labels = rows(found["labels"])
    clusters = np.array([int(row["cluster"]) for row in labels])
    classes = [row["class"] for row in labels]
    assert classes == [row["file"].split("/")[0] for row in labels]
    assert found["sizes"] == np.bincount(clusters, minlength=10).tolist()
    assert found["scores"]["acc"] == pytest.approx(clustering_accuracy(classes, clusters))
    assert read_card("there/model/model.safetensors")["scores"] == found["scores"]
    assert (found["n_images"], found["epochs"], found["skipped"]) == (60, 2, [])
    assert found["health"]["loss"] > 0
    for row in labels:
        [link] = Path(found["clusters"]).glob(f"{row['cluster']}/{row['file']}")
        assert link.resolve() == photos / row["file"]


def test_what_is_not_known_is_not_in_the_answer(photos, capsys):
    assert cli.main(["fit", "photos", "-k", "3", "--json", *FAST, "--epochs", "1"]) == 0
    health = json.loads(capsys.readouterr().out)["health"]
    assert "loss" in health and "label_change" not in health  # of one epoch


def test_copies_are_sorted_too(photos):
    assert cli.main(["fit", "photos", "-k", "3", "--sort", "copy", "--no-report", *FAST]) == 0
    copies = list(Path("photos_clusters/clusters").rglob("*.png"))
    assert len(copies) == 60 and not any(path.is_symlink() for path in copies)
    assert not Path("photos_clusters/report.html").exists()


def test_a_broken_file_is_told_and_the_rest_clustered(photos, capsys):
    (photos / "0" / "broken.png").write_text("no image")
    assert cli.main(["fit", "photos", "-k", "3", "--json", *FAST]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["skipped"] == ["0/broken.png"]
    assert "0/broken.png could not be read, and has cluster -1 in labels.csv" in err
    assert [row["cluster"] for row in rows("photos_clusters/labels.csv")].count("-1") == 1


def test_photographs_that_are_left_out_are_told(photos, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (photos / "IMG_0001.HEIC").touch()
    assert cli.main(["fit", "photos", "-k", "3", "--no-report", *PLAIN]) == 0
    err = capsys.readouterr().err
    assert "Warning: X='photos': left out are 1 in HEIC" in err
    assert 'pip install "skdeepclust[heic]"' in err


def test_a_map_that_cannot_be_made_is_told_before_training(photos, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    command = ["fit", "photos", "-k", "3", *FAST, "--map", "umap"]
    assert "pip install umap-learn" in refused(command, capsys)
    assert not Path("photos_clusters").exists()
    assert cli.main([*command, "--no-report"]) == 0


@pytest.mark.filterwarnings("default:.*is not of this run")
def test_results_of_an_earlier_run_are_told(photos, capsys):
    command = ["fit", "photos", "-k", "3", "--overwrite", *PLAIN]
    assert cli.main([*command, "--map", "pca", "--sort", "copy"]) == 0
    assert "Warning" not in capsys.readouterr().err
    assert cli.main([*command, "--no-report"]) == 0
    err = capsys.readouterr().err
    for name in ("clusters", "report.html"):
        assert f"Warning: photos_clusters/{name} is not of this run" in err


def test_a_pretrained_network_could_see_more(photos, capsys):
    torch.save(make_backbone("mlp", (1, 8, 8)).state_dict(), "net.pt")
    command = ["fit", "photos", "-k", "3", "--no-report", *FAST]
    assert cli.main([*command, "--weights", "net.pt"]) == 0
    assert "seen as 1 x 8 x 8; --size 160 shows the network more" in capsys.readouterr().out
    assert cli.main([*command, "--overwrite"]) == 0
    assert "--size" not in capsys.readouterr().out


def test_a_folder_that_is_called_like_a_home(photos):
    photos.rename(photos.with_name("~nobody"))
    for name in ("~nobody", "./~nobody"):
        command = ["fit", name, "-k", "3", "--no-report", "--overwrite", *PLAIN]
        assert cli.main(command) == 0
        assert len(rows("~nobody_clusters/labels.csv")) == 60


def test_photographs_call_for_it_too(photos, capsys, monkeypatch):
    monkeypatch.setattr("skdeepclust.cli.fit._FEW", 10)
    assert (
        cli.main(["fit", "photos", "--no-report", "--set", "image_shape=(3, 16, 16)", *FAST]) == 0
    )
    told = capsys.readouterr().out
    assert "If these are photographs, compare with --method kmeans" in told
    assert "8 clusters, for want of -k (-k 2-20 chooses a number), 2 epochs" in told


def test_few_images_call_for_a_pretrained_network(photos, capsys):
    assert cli.main(["fit", "photos", "-k", "3", "--no-report", *FAST]) == 0
    assert "few images to learn from: compare with --method kmeans" in capsys.readouterr().out
    assert cli.main(["fit", "photos", "-k", "3", "--no-report", "--overwrite", *PLAIN]) == 0
    told = capsys.readouterr().out
    assert "few images" not in told and "--size" not in told


def test_long_trainings_on_a_gpu_call_for_the_compiler(photos, capsys, monkeypatch):
    command = ["fit", "photos", "-k", "3", "--no-report", "--overwrite", *FAST]
    monkeypatch.setattr("skdeepclust.cli.fit._LONG", 60 * 2 - 1)
    assert cli.main(command) == 0
    assert "compile" not in capsys.readouterr().out
    monkeypatch.setattr("skdeepclust.engine.device.resolve_device", lambda _: torch.device("cuda"))
    monkeypatch.setattr("skdeepclust.cli.fit.fit_quietly", stop)
    for more, told in (([], True), (["--set", "compile=True"], False), (["--epochs", "1"], False)):
        assert cli.main([*command, *more]) == 130
        assert ("--set compile=True takes a minute" in capsys.readouterr().out) == told


def stop(*args):
    raise KeyboardInterrupt("Stopped")


@pytest.fixture
def signalled(monkeypatch):
    """Send a signal in the second epoch of a training, once."""

    def prepare(by):
        step, sent = ObjectiveNet.train_step, []

        def interrupt(net, *args, **kwargs):
            if net.run.epoch == 1 and not sent:
                sent.append(os.kill(os.getpid(), by))
            return step(net, *args, **kwargs)

        monkeypatch.setattr(ObjectiveNet, "train_step", interrupt)

    return prepare


def test_ctrl_c_is_told_once(photos, capsys, signalled):
    signalled(signal.SIGINT)
    assert cli.main(["fit", "photos", "-k", "3", *FAST]) == 130
    said = "Stopped after 1 of 2 epochs; the same command goes on."
    assert capsys.readouterr().err.split("\n") == ["", said, ""]


@pytest.mark.parametrize("method", [FAST, PLAIN], ids=["cdc", "kmeans"])
def test_the_number_of_clusters_can_be_chosen(method, photos, capsys):
    command = ["fit", "photos", "-k", "2-5", "--no-report", "--json"]
    assert cli.main([*command, *method]) == 0
    found = json.loads(capsys.readouterr().out)
    assert 2 <= found["n_clusters"] <= 5
    assert load(Path(found["model"]) / "model.safetensors").n_clusters == found["n_clusters"]


def test_kmeans_takes_a_network_as_it_is(photos):
    assert cli.main(["fit", "photos", "-k", "5", "--map", "pca", *PLAIN]) == 0
    assert len(rows("photos_clusters/labels.csv")) == 60


def test_size_and_parameters_reach_the_method(photos):
    more = ["--size", "12", "--set", "lr=0.002", "--seed", "7", "--no-report"]
    assert cli.main(["fit", "photos", "-k", "3", *FAST, *more]) == 0
    model = load("photos_clusters/model/model.safetensors")
    assert model.image_shape_in_ == (1, 12, 12)  # grey files stay grey
    assert (model.lr, model.random_state) == (0.002, 7)


def test_a_recipe_is_taken(photos, capsys):
    command = ["fit", "photos", "-k", "3", "--method", "idfd", "--recipe", "cifar10"]
    more = ["--epochs", "1", "--size", "8", "--set", "backbone=mlp", "--no-report"]
    assert cli.main([*command, *more]) == 0
    model = load("photos_clusters/model/model.safetensors")
    assert (model.lr, model.optimizer, model.max_epochs) == (0.03, "sgd", 1)


def test_a_recipe_has_its_own_number_of_clusters(photos):
    more = ["--epochs", "1", "--size", "8", "--set", "backbone=mlp", "--no-report"]
    assert cli.main(["fit", "photos", "--method", "idfd", "--recipe", "cifar10", *more]) == 0
    assert load("photos_clusters/model/model.safetensors").n_clusters == 10


def test_the_heads_of_a_recipe_follow_the_number_of_clusters(photos):
    more = ["--epochs", "1", "--size", "8", "--set", "backbone=mlp", "--no-report", "--overwrite"]
    command = ["fit", "photos", "--method", "secu", "--recipe", "cifar10", *more]
    for k in ("4", "2-3"):
        assert cli.main([*command, "-k", k]) == 0
        model = load("photos_clusters/model/model.safetensors")
        assert model.heads[:2] == (model.n_clusters, 2 * model.n_clusters)
        assert model.n_clusters in (4, 2, 3) and model.image_shape == (1, 8, 8)


# -- stopping and going on --------------------------------------------------------------------


def test_ctrl_c_is_gone_on_from(photos, capsys):
    command = ["fit", "photos", "-k", "3", "--no-report", *FAST, "--epochs", "40"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = [sys.executable, "-m", "skdeepclust", *command]
    run = subprocess.Popen(process, env=environment, stderr=subprocess.PIPE, text=True)
    state = Path("photos_clusters/checkpoint/run")
    while run.poll() is None and not any(state.glob("*.safetensors")):
        time.sleep(0.02)
    run.send_signal(signal.SIGINT)
    assert run.communicate(timeout=60)[1].strip().endswith("the same command goes on.")
    assert run.returncode == 130

    assert cli.main([*command, "--json"]) == 0
    out, err = capsys.readouterr()
    assert "Going on with the run in photos_clusters" in err and json.loads(out)["epochs"] == 40
    assert len(rows("photos_clusters/labels.csv")) == 60


def test_sigterm_says_how_to_go_on(photos, capsys, signalled):
    signalled(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        cli.main(["fit", "photos", *FAST])
    assert ended.value.code == 143
    assert capsys.readouterr().err.strip().endswith("Terminated; the same command goes on.")


def test_ctrl_c_stops_the_choice_of_a_number_too(photos, capsys, signalled):
    signalled(signal.SIGINT)
    assert cli.main(["fit", "photos", "-k", "2-4", "--overwrite", *FAST]) == 130
    words = capsys.readouterr().err.strip()
    assert words.endswith("the same command without --overwrite goes on.")
    assert not Path("photos_clusters/checkpoint/run").exists()


def test_only_our_checkpoints_are_gone_on_from_and_removed(photos, capsys):
    mine = Path("out/checkpoint/mine.pt")
    mine.parent.mkdir(parents=True)
    mine.touch()
    assert "holds files already" in refused(["fit", "photos", "--out", "out"], capsys)
    assert cli.main(["fit", "photos", "-k", "3", "--out", "out", "--overwrite", *FAST]) == 0
    assert list(mine.parent.iterdir()) == [mine]


def test_a_cluster_is_not_replaced_while_it_is_clustered(photos, capsys):
    more = ["--sort", "copy", "--no-report", *FAST]
    assert cli.main(["fit", "photos", "-k", "2", "--out", "out", *more]) == 0
    capsys.readouterr()
    held = sorted(Path("out/clusters").rglob("*.png"))
    part = str(held[0].relative_to("out/clusters").parts[0])
    command = ["fit", f"out/clusters/{part}", "-k", "2", "--out", "out", "--overwrite", *more]
    assert "would replace FOLDER" in refused(command, capsys)
    assert sorted(Path("out/clusters").rglob("*.png")) == held


def test_another_run_does_not_go_on_from_it(photos, capsys, monkeypatch):
    from skdeepclust.cli import fit

    monkeypatch.setattr(fit, "_write", lambda *_: 1 / 0)  # the training is kept
    with pytest.raises(ZeroDivisionError):
        cli.main(["fit", "photos", "-k", "3", *FAST])
    monkeypatch.undo()
    os.chdir(photos.parent)
    capsys.readouterr()
    with pytest.raises(SystemExit, match="2"):
        cli.main(["fit", "photos", "-k", "4", *FAST])
    out, err = capsys.readouterr()
    assert "n_clusters was 3 and is 4. Give what was given then, or --overwrite" in err
    assert "--out photos_clusters holds" in err and "--overwrite begins anew" in out
    assert cli.main(["fit", "photos", "-k", "4", "--overwrite", *FAST]) == 0


@pytest.mark.parametrize(
    ("stopped", "then", "words"),
    [
        (["-k", "3", *FAST], ["-k", "2-4", *FAST], "was one number and is a range"),
        (["-k", "2-4", *FAST], ["-k", "4", *FAST], "was a range and is one number"),
        (["-k", "3", *FAST], ["-k", "3", *PLAIN], "its method trains, and kmeans does not"),
    ],
)
def test_a_run_of_another_kind_is_refused_at_once(
    photos, capsys, monkeypatch, stopped, then, words
):
    from skdeepclust.cli import fit

    monkeypatch.setattr(fit, "_write", lambda *_: 1 / 0)  # the training is kept
    with pytest.raises(ZeroDivisionError):
        cli.main(["fit", "photos", *stopped])
    held = sorted(Path("photos_clusters").rglob("*"))
    monkeypatch.setattr(fit, "_train", None)  # nothing is trained first
    os.chdir(photos.parent)
    capsys.readouterr()
    assert words in refused(["fit", "photos", *then], capsys)
    assert sorted(Path("photos_clusters").rglob("*")) == held


@pytest.mark.parametrize("options", [FAST, PLAIN])
@pytest.mark.parametrize("more", [[], ["--overwrite"]])
def test_a_run_that_goes_on_is_not_disturbed(photos, capsys, options, more):
    state = Path("photos_clusters/checkpoint/run")
    state.mkdir(parents=True)
    (state / "stage1.safetensors").touch()
    with FileLock(state / "lock"):
        err = refused(["fit", "photos", "-k", "3", *options, *more], capsys)
    assert "--out photos_clusters is in use by another run" in err
    assert (state / "stage1.safetensors").exists()


def test_what_lies_beside_the_clusters_is_kept(photos):
    command = ["fit", "photos", "-k", "3", "--sort", "copy", "--out", "out", *FAST]
    for mine in ("out/clusters/kube.yaml", "out/clusters/dogs/1.png", "out/clusters/7/1.png"):
        Path(mine).parent.mkdir(parents=True, exist_ok=True)
        Path(mine).touch()
    assert cli.main([*command, "--overwrite"]) == 0
    assert Path("out/clusters/kube.yaml").exists() and Path("out/clusters/dogs/1.png").exists()
    assert not Path("out/clusters/7").exists()  # as a run before may have left it


# -- what cannot be done ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "does not exist"),
        ([""], "is empty: '.' is the current folder"),
        (["empty"], "holds no image"),
        (["photos", "-k", "61"], "too few images, 60"),
        (["photos", "-k", "0"], "a number or a range"),
        (["photos", "-k", "5-2"], "a number or a range"),
        (["photos", "--method", "propo"], "did you mean propos?"),
        (["photos", "--method", "xyz"], "none of idfd, propos, secu, cdc, kmeans"),
        (
            ["photos", "--method", "kmeans", "--epochs", "3"],
            "--epochs: BackboneKMeans trains nothing",
        ),
        (["photos", "--method", "kmeans", "--recipe", "cifar10"], "no recipes"),
        (["photos", "--recipe", "mnist"], "'mnist'"),
        (["photos", "--set", "lrr=1"], "no parameter 'lrr': did you mean lr?"),
        (["photos", "--set", "xyz=1"], "no parameter 'xyz': it has n_clusters, "),
        (["photos", "--set", "n_clusters=5"], "--set n_clusters: give --n-clusters"),
        (["photos", "--set", "verbose=0"], "--set verbose: a terminal"),
        (["photos", "--set", "checkpoint=run"], "--set checkpoint: it is in OUT"),
        (["photos", "--set", "random_state=5"], "--set random_state: give --seed"),
        (["photos", "--epochs", "1", "--set", "max_epochs=3"], "max_epochs: an option says 1 alr"),
        (["photos", "--size", "8", "--set", "image_shape=None"], "image_shape: an option says 8"),
        (["photos", "-k", "2-60"], "too few images, 60"),
        (["photos", "--classes", "photos"], "--classes photos is no file"),
        (["photos", "--classes", "twice.csv"], "it has two classes for 'a.png'"),
        (["photos", "--set", "lr=-1"], "'lr'"),
        (["photos", "--set", "lr"], "NAME=VALUE"),
        (["photos", "--classes", "nowhere.csv"], "nowhere.csv"),
        (["photos", "--classes", "quoted.csv"], "--classes quoted.csv: line 2: field larger"),
        (["photos", "--classes", "short.csv"], "--classes short.csv: it has no class for"),
        (["photos", "--out", "full"], "holds files already"),
        (["photos", "--out", "full/a.txt"], "is a file"),
        (["photos", "--sort", "copy", "--out", "photos/sorted"], "not inside FOLDER"),
        (["photos", "--size", "3"], "--size"),
        (["photos", "--device", "gpu"], "device='gpu' is unknown; there are 'auto'"),
        (["photos", "--n_clusters", "3"], "did you mean --n-clusters?"),
        (["photos", "--n_clusters=3"], "(see skdeepclust fit --help)"),
        (["single", "-k", "1"], "too few images, 1 "),
    ],
)
def test_what_cannot_be_done_is_one_line_and_status_2(arguments, words, photos, capsys):
    Path("empty").mkdir()
    Path("full").mkdir()
    Path("full/a.txt").touch()
    Path("quoted.csv").write_text('file,class\n"' + "x" * 200_000)
    Path("short.csv").write_text("class,file\na\n")
    Path("twice.csv").write_text("file,class\na.png,a\na.png,b\n")
    Path("single").mkdir()
    shutil.copy(next(photos.rglob("*.png")), "single")
    assert words in refused(["fit", *arguments], capsys)
    assert not Path("photos_clusters").exists()


def test_a_run_that_was_refused_leaves_nothing_to_go_on_with(photos, capsys):
    command = ["fit", "photos", "-k", "3", "--no-report", *FAST]
    with pytest.raises(SystemExit, match="2"):
        cli.main([*command, "--set", "augment=greyscale"])
    assert "greyscale" in capsys.readouterr().err
    assert cli.main(command) == 0
    assert "Going on" not in capsys.readouterr().out


def test_what_shows_only_in_training_is_one_line_too(photos, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["fit", "photos", "--weights", "nowhere.pt"])
    err = capsys.readouterr().err
    assert "nowhere.pt" in err and err.count("\n") == 1
    assert cli.main(["fit", "photos", "-k", "3", *FAST]) == 0  # nothing is in the way


def test_a_batch_that_does_not_fit_is_one_line(photos, capsys, monkeypatch):
    def fit(*_):
        raise MemoryError("batch_size=256 does not fit: 64 does")

    monkeypatch.setattr(CDCClustering, "fit", fit)
    with pytest.raises(SystemExit, match="2"):
        cli.main(["fit", "photos", "-k", "3", *FAST])
    err = capsys.readouterr().err
    assert "64 does" in err and err.count("\n") == 1


def test_a_home_is_found_without_a_shell(photos, monkeypatch):
    monkeypatch.setenv("HOME", str(photos.parent))
    monkeypatch.setenv("USERPROFILE", str(photos.parent))
    command = ["fit", "~/photos", "-k", "3", "--out=~/there/sorted", "--sort", "copy"]
    assert cli.main([*command, *PLAIN]) == 0
    assert Path("there/sorted/labels.csv").exists() and not Path("~").exists()
    assert cli.main(["predict", "~/there/sorted", "~/photos", "--out=~/more.csv"]) == 0
    assert len(rows("more.csv")) == 60


def test_a_traceback_can_be_had(photos):
    Path("empty").mkdir()
    with pytest.raises(ValueError, match="holds no image"):
        cli.main(["fit", "empty", "--traceback"])


# -- classes ----------------------------------------------------------------------------------


def test_classes_come_from_folders_or_a_table(tmp_path):
    names = ["a/1.png", "b/c/2.png"]
    assert classes_of(None, names) is None
    assert classes_of("folders", names) == ["a", "b/c"]
    table = tmp_path / "classes.csv"
    table.write_text("file,class\nb/c/2.png,two\na/1.png,one\nother.png,x\n")
    assert classes_of(str(table), names) == ["one", "two"]
    with pytest.raises(ValueError, match=r"no class for 'd\.png'"):
        classes_of(str(table), ["d.png"])
    table.write_text("file,class\na/1.png,one\nb/c/2.png\n")
    with pytest.raises(ValueError, match=r"no class for 'b/c/2\.png'"):
        classes_of(str(table), names)
    table.write_bytes(b"file,class\n\xe9.png,one\n")
    assert classes_of(str(table), [os.fsdecode(b"\xe9.png")]) == ["one"]
    table.write_text("name;class\n")
    with pytest.raises(ValueError, match="columns file, class"):
        classes_of(str(table), names)
    with pytest.raises(ValueError, match=r"'3\.png' lies in no sub-folder"):
        classes_of("folders", ["a/1.png", "3.png"])
