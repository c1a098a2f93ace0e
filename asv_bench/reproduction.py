"""The page docs/reproduction.md and its plots, from what reproduce.py recorded."""

import itertools
import json

from gpu import ROOFLINE
from published import ABLATION, ALL, FAST, FIRST, METHODS, SMALL, TRADE_OFF, has, recipe
from report import GRID, SCORES, software, spread, table
from results import put

MISSING = "not yet measured"
SHARE = 0.6  # of the roofline that the expected minutes are worked out with
COMMAND = "python asv_bench/reproduce.py"
OTHERS = ("cifar100-20", "stl10", "imagenet10")

# -- what was recorded --------------------------------------------------------------------


class Group:
    """The runs of one method with one recipe on one data set, from several seeds."""

    def __init__(self, method, data, how, rows):
        self.method, self.data, self.how = method, data, how
        self.title = ALL[method].title
        self.recipe = recipe(method, data, how)
        key = {"method": method, "data": data, "recipe": how}
        mine = [row for row in rows if key.items() <= row.items()]
        self.rows = [row for row in mine if "error" not in row]
        self.failed = len(mine) - len(self.rows)

    @property
    def scored(self):
        return self.recipe.scored or self.recipe.fitted

    def cell(self, split=None):
        """ACC, NMI and ARI on a split, by default the one that is scored."""
        if not self.rows:
            return "failed" if self.failed else MISSING
        found = [row["scores"][split or self.scored] for row in self.rows]
        return " / ".join(spread([each[s] for each in found], ".3f") for s in SCORES)

    @property
    def fitted(self):
        """Those on the split that was fitted, where that is another and has classes."""
        split = self.recipe.fitted
        return "-" if split == self.scored or "unlabeled" in split else self.cell(split)

    @property
    def bank(self):
        """Of the memory bank's clusters."""
        if self.recipe.method != "IDFDClustering":
            return "-"
        names = [f"bank_{name}" for name in SCORES]
        found = [spread([row[name] for row in self.rows], ".3f") for name in names]
        return " / ".join(found) if self.rows else MISSING

    @property
    def minutes(self):
        return spread([row["seconds"] / 60 for row in self.rows], ".1f") or "-"


def recorded(folder):
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def groups(rows, data, how, methods=METHODS):
    """Of every method that has the recipe for the data set."""
    return [Group(name, data, how, rows) for name in methods if has(name, data, how)]


# -- expected minutes ---------------------------------------------------------------------


def expected(group):
    """Minutes on one H200, or None where nobody has worked out what an image costs."""
    params, n = group.recipe.params, group.recipe.n_samples
    cost = ROOFLINE.get((params["backbone"], params["image_shape"][1]))
    if cost is None or params["stem"] != "small":
        return None
    both, forward = cost
    views = 1 if group.recipe.method == "IDFDClustering" else 2
    each, whole = views * both, params.get("self_label_epochs", 0) * (both + forward)
    if group.recipe.method == "ProPosClustering":
        each += views * forward  # of the target
        whole += params["max_epochs"] * forward  # to label all images
    total = work(params, params["image_shape"][1]) * each + whole
    return total * n * 1e-6 / SHARE / 60


def work(params, side=32):
    """Epochs, those of small views counted by their pixels."""
    epochs, start = params["max_epochs"], params.get("start_resolution") or side
    return epochs - epochs // 2 * (1 - (start / side) ** 2)


# -- tables -------------------------------------------------------------------------------


def beside_published(found):
    """Our figures beside those of the papers."""
    head = ["method", "recipe", "fitted, scored", "published ACC", "our target", "ACC / NMI / ARI"]
    lines = []
    for group in found:
        splits = f"{group.recipe.fitted}, {group.scored}"
        line = [group.title, group.how, splits, published(group), goal(group), group.cell()]
        lines.append([*line, group.fitted, group.bank, group.minutes, str(len(group.rows))])
    return table([*head, "on the fitted", "of the bank", "minutes", "runs"], lines, "---")


def published(group):
    told = [
        f"{result.acc / 100:.3f} ({result.source})"
        for result in group.recipe.results
        if result.acc is not None
    ]
    return "; ".join(told) or "none"


def goal(group):
    found = ALL[group.method].goals.get(group.how) if group.data == "cifar10" else None
    return f"{found[0]:.3f} in {found[1]:g} min" if found else "-"


def small(found):
    head = ["method", "epochs", "ACC / NMI / ARI", "of the bank", "minutes", "slices", "runs"]
    lines = []
    for group in found:
        epochs = str(group.recipe.params["max_epochs"])
        slices = ", ".join(str(len(row["slices"])) for row in group.rows) or "-"
        line = [group.title, epochs, group.cell(), group.bank, group.minutes, slices]
        lines.append([*line, str(len(group.rows))])
    return table(head, lines)


def with_less(rows):
    """Recipe `small`, and what it gives with less work."""
    lines = []
    for name in FIRST:
        whole, half, reduced = (
            Group(kind, "cifar10", "small", rows)
            for kind in (name, f"{name}-half", f"{name}-reduced")
        )
        shares = [work(g.recipe.params) / work(whole.recipe.params) for g in (half, reduced)]
        found = [
            f"{g.cell()} ({share:.0%})" for g, share in zip((half, reduced), shares, strict=True)
        ]
        lines.append([whole.title, whole.cell(), *found])
    head = ["method", "the recipe", "half of the epochs (work)", "small views at first (work)"]
    return table(head, lines)


def still_open(found):
    """Commands of the rows that nobody has run."""
    lines = []
    for group in found:
        if group.rows:
            continue
        minutes = expected(group)
        asked = f"--method {group.method} --data {group.data} --recipe {group.how}"
        told = "not worked out" if minutes is None else f"{minutes:.0f}"
        lines.append([f"{group.title}, {group.data}", group.how, told, f"`{COMMAND} {asked}`"])
    return table(["method, data", "recipe", "expected minutes", "command"], lines, "---")


def reasons(settings, data, how):
    """What a recipe changes, and why, a table for each method."""
    parts = []
    for kind, changed in settings.items():
        base = recipe(kind, data, "paper").params if how == "fast" else {}
        head = ["parameter", "value", *(["paper"] if base else []), "reason"]
        lines = [
            [
                *(f"`{name}`", f"`{s.value!r}`", *([f"`{base.get(name)!r}`"] if base else [])),
                s.source.removeprefix("ours: "),
            ]
            for name, s in changed.items()
        ]
        parts += [f"**{METHODS[kind].title}**", table(head, lines, "---")]
    return "\n\n".join(parts)


# -- the page -----------------------------------------------------------------------------


def render(rows):
    """Text of docs/reproduction.md."""
    paper, fast = (groups(rows, "cifar10", how) for how in ("paper", "fast"))
    order = list(METHODS)
    cifar10 = sorted(paper + fast, key=lambda g: (not g.rows, order.index(g.method)))
    ablation = groups(rows, "cifar10", "fast", ABLATION)
    others = [group for data in OTHERS for group in groups(rows, data, "paper")]
    trade_off = groups(rows, "cifar10", "fast", TRADE_OFF)
    tried = [g for g in groups(rows, "cifar10", "small") if g.rows or g.method in FIRST]
    pictures = [f"![{text}]({name})" for name, text, _ in figures(rows)]
    ran = sorted({software(row) for row in rows})
    page = PAGE.format(
        so_far=so_far(cifar10),
        cifar10=beside_published(cifar10),
        ablation=beside_published(ablation),
        trade_off=beside_published(trade_off),
        others=beside_published_elsewhere(others),
        small=small(tried),
        small_ablation=small(groups(rows, "cifar10", "small", ABLATION)),
        small_trade_off=with_less(rows),
        pictures="\n\n".join(pictures),
        together=sum(expected(group) for group in fast if group.method in FIRST),
        open=still_open(fast + paper + ablation + trade_off + others),
        fast=reasons(FAST, "cifar10", "fast"),
        reduced=reasons(SMALL, "cifar10", "small"),
        ran="\n".join(f"- {text}" for text in ran) or "nowhere yet",
    )
    return page.rstrip() + "\n"


def so_far(found):
    """What of these rows has been run, in a sentence."""
    run = [f"{g.title}, `{g.how}`, ACC {g.cell().split(' / ')[0]}" for g in found if g.rows]
    whole = any(g.rows and g.how == "paper" for g in found)
    none = "" if whole else ", and no published setting yet"
    return f"Run so far on CIFAR-10: {'; '.join(run) or 'nothing'}{none}."


def beside_published_elsewhere(found):
    parts = []
    for data, members in itertools.groupby(found, key=lambda group: group.data):
        members = list(members)
        parts += [f"**{members[0].recipe.data.title}** (`--data {data}`)"]
        parts += [beside_published(members)]
    return "\n\n".join(parts)


def main(args):
    """Write the page and its plots, or with --check compare the page; the exit status."""
    rows, path = recorded(args.out), args.root / "docs" / "reproduction.md"
    status = put({path: render(rows)}, args.check)
    if not args.check:
        draw(rows, path.parent)
    return status


# -- plots --------------------------------------------------------------------------------

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9")  # of Okabe and Ito, by seed


def figures(rows):
    """Place below docs/, description and runs of each plot: one for a data set and recipe."""
    ended = [row for row in rows if "error" not in row and row["method"] in METHODS]
    for data, how in sorted({(row["data"], row["recipe"]) for row in ended}):
        mine = [row for row in ended if (row["data"], row["recipe"]) == (data, how)]
        text = f"ACC and loss by epoch, a column for each method: {data}, recipe {how}"
        yield f"_static/reproduction-{data}-{how}.svg", text, mine


def draw(rows, docs):
    import matplotlib

    for name, _, mine in figures(rows):
        (docs / name).parent.mkdir(parents=True, exist_ok=True)
        # Without a date and with fixed identifiers, the same rows give the same file.
        with matplotlib.rc_context({"svg.hashsalt": "reproduction", "font.size": 8}):
            panels(mine).savefig(docs / name, metadata={"Date": None}, facecolor="white")


def panels(rows):
    """ACC above, loss below."""
    from matplotlib.figure import Figure

    names = [name for name in METHODS if any(row["method"] == name for row in rows)]
    figure = Figure(figsize=(2.6 * max(2, len(names)), 4.2), layout="constrained")
    axes = figure.subplots(2, len(names), squeeze=False, sharex="col")
    for (top, bottom), name in zip(axes.T, names, strict=True):
        mine = [row for row in rows if row["method"] == name]
        panel(top, bottom, mine)
        top.set_title(ALL[name].title)
    axes[0][0].set_ylabel("ACC")
    axes[1][0].set_ylabel("loss")
    return figure


def panel(top, bottom, rows):
    """One method; a dashed line is the first published ACC, a point the final one."""
    for row in rows:
        style = {"color": COLOURS[row["seed"] % len(COLOURS)], "linewidth": 1.2}
        top.plot(*([point[k] for point in row["curve"]] for k in ("epoch", "acc")), **style)
        top.plot(row["n_iter"], final(row), "o", markersize=4, color=style["color"])
        bottom.plot(row["history"]["epoch"], row["history"]["loss"], **style)
    told = recipe(rows[0]["method"], rows[0]["data"], rows[0]["recipe"]).results
    if told and told[0].acc is not None:
        top.axhline(told[0].acc / 100, color="#666666", linewidth=0.8, linestyle="--")
    bottom.set_xlabel("epoch")
    bottom.xaxis.get_major_locator().set_params(integer=True)
    for ax in (top, bottom):
        ax.grid(color=GRID, linewidth=0.5)
        ax.spines[["top", "right"]].set_visible(False)


def final(row):
    return row["scores"][row["protocol"]["scored"]]["acc"]


PAGE = f"""% Written by asv_bench/reproduce.py from what it recorded: do not edit.

# The papers' figures

What `{COMMAND}` found with the settings of the papers, beside what was
published. {{so_far}}
[Results](results.md) are another thing: all methods at their default parameters, on small data.

## CIFAR-10

Recipe `paper` has the published epochs and settings, see [recipes](recipes.md), but for the
precision: it computes in bfloat16 where the device is made for that. `fast` has the same method and
network with a schedule made for the clock, for CIFAR-10 alone; its values stand
[below](#the-fast-recipes) with their reasons. The network is a ResNet-18 if nothing else is
said: for ProPos and BYOL, `paper` means the recipe `"cifar10-resnet18"`; the row "ResNet-34" is the
recipe `"cifar10"`. "Our target" is ACC and minutes on one H200.

{{cifar10}}

Two open questions of ProPos on one device are the weight of the scattering, which the authors' code
divides by the number of devices, and the images that a batch norm sees. One command runs all four
answers: `{COMMAND} --ablation --recipe fast`. Whole norms are over the 512 images of a view.

{{ablation}}

Whether `fast` could be faster still: with half of its epochs, or with views of 24 pixels in the
first half of them (`start_resolution`). `{COMMAND} --trade-off --recipe fast` tells.

{{trade_off}}

## Other data sets

{{others}}

## On two cores

Recipe `small`: 10,000 images, the test part of CIFAR-10, with a narrow network and few epochs, on
one thread. It proves the path that a run on a GPU takes, slices and all, and says nothing about the
papers: nobody published figures at this scale.

{{small}}

{{pictures}}

ProPos' two questions at this scale (`--ablation --recipe small`), in batches of 128: whole norms
are over both views at once, as in the recipe itself, the others over one view:

{{small_ablation}}

What less work costs, ACC / NMI / ARI and the share of the recipe's work
(`--trade-off --recipe small`):

{{small_trade_off}}

Lines in the plots are the ACC of the labels that a method has while it learns; the point at the end
is the final ACC.

## Protocol

- **Fitted, scored**: a recipe states on which split the paper trained and on which it scored.
  Figures compare only at equal splits. Where the two differ, both are scored.
- **Labels** are those of the last epoch, never the best ones by the classes. No epoch, seed or
  setting was chosen by them. ACC is the accuracy after Hungarian matching, NMI has the arithmetic
  mean, ARI is the adjusted Rand index.
- **ACC while it trains** is to look at. It comes from the labels that the method itself has at the
  end of an epoch, on the fitted split; nothing in training reads it. Those of IDFD are clusters of
  its memory bank, those of ProPos the pseudo-labels, those of SeCu the first head's.
- **IDFD's paper clusters the memory bank.** `bank_acc` is that, by k-means of 20 restarts;
  the other scores are those of `labels_`, clusters of the clean embedding, as new images have.
- **SeCu** was published at 0.930, almost surely after self-labelling, which has a row of its own;
  one stage is not checked against the paper, and CoKe came before it. The test split is scored.
- **CDC** has no published figure on CIFAR-10 and no official code: its recipe is a reconstruction.
- **Restarted** runs, which go on from weights alone, would be said to be: `restarted` is false in
  every file, since a state holds all of a training.
- **Minutes** are the wall time of all slices together: reading the state, training, k-means and
  scores. Those on a CPU are of cores that other work shared.

## Not yet run

Expected minutes are worked out, not measured: work and traffic of each image on an H200 that
computes in bfloat16, at {SHARE:.0%} of what it could do. They stand in the order in which to run
them on one device. To each command belong `--device cuda --data-home FOLDER`, and `--minutes 9`
where commands may take ten. Without `--method` it runs SeCu, IDFD, ProPos and CDC: `--recipe fast`
has {{together:.0f}} expected minutes for the four.

{{open}}

## In slices

```bash
until {COMMAND} --recipe fast --data-home FOLDER --minutes 9; do
    [ $? = 75 ] || break
done
```

| exit status | |
|---|---|
| 0 | all runs have ended |
| 75 | the minutes are over, and there is more to do: call again |
| 1 | a run has failed; its file says why |
| 2 | an argument makes no sense, or data are missing |
| 130, 143 | Ctrl-C or SIGTERM; call again to go on |

The minutes count from the start of the command. The step that is being made then is the last one,
and its state is written; what comes after the last epoch, k-means and scores, is not cut off: leave
it a minute. The next call goes on from there, on a CPU to bit for bit the result of a run without
slices. A process that is killed loses the epochs since the last state, ten at most. States are kept
in `asv_bench/.reproduce` (`--state`) until a run has ended, with the scores so far in
`progress.json`.

On CUDA the step is compiled, anew in each call; `--eager` does without. What has failed has that in
its file and is not run again, unless by `--retry`.

A file in `asv_bench/results/reproduction` has, for one run: `settings`, all that a result depends
on; `protocol`; `commit`, versions, device and `threads`, also for each of the `slices`, with its
warnings; `seconds`; `images_per_second`, the median of the epochs; `scores` by split, and
`bank_acc`, `bank_nmi` and `bank_ari` of IDFD; `curve`, the scores every ten epochs
(`--every`); `history`, the loss, its terms and the figures of health of every epoch;
`labels_sha256`; `collapsed`; and `restarted`.

## The fast recipes

What they came to is in the table [above](#cifar-10); those without figures have not been run.
Beside these values they have those of the papers.

{{fast}}

## The small recipes

Other values are the defaults of the estimators.

{{reduced}}

## Ran on

{{ran}}
"""
