"""The tables of README.md and docs/results.md, and the plot, from recorded rows."""

import statistics

from entrants import DATASETS, Entrant, entrants

SCORES = ("acc", "nmi", "ari")
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
NOTHING_YET = "No results have been recorded yet; `python asv_bench/results.py` records them."
PICTURE = "_static/results.svg"  # below docs/
CAPTION = (
    "Accuracy (ACC) after fitting without labels: mean ± standard deviation over runs with "
    "different seeds, {runs} each; without ± it is one run. The best of each column is bold."
)

# -- rows of a method ---------------------------------------------------------------------


class Group:
    """The rows of one method on one data set."""

    def __init__(self, name, entrant, rows, usual=None, awaited=True):
        self.name = name
        self.entrant = entrant
        self.on_cpu = [worked(row) for row in rows if row["device"] == "cpu"]
        self.timed = of_one_clock(self.on_cpu, usual)
        self.on_gpu = [row for row in rows if row["device"] != "cpu"]
        self.rows = self.on_cpu + self.on_gpu
        self.missing = "not yet measured" if awaited and entrant.group != "peer" else "-"

    def values(self, name):
        """Of the runs that succeeded, those on a CPU where there are any."""
        return measured(self.on_cpu, name) or measured(self.on_gpu, name)

    def mean(self, name):
        values = self.values(name)
        return statistics.mean(values) if values else None

    def cell(self, name, form):
        """Mean and deviation, and how many runs failed."""
        failed = [row for row in self.on_cpu or self.on_gpu if "error" in row]
        text = spread(self.values(name), form)
        if not failed:
            return text or self.missing
        how = "out of time" if all("limit" in row for row in failed) else "failed"
        return f"{text} ({len(failed)} {how})" if text else how

    def cost(self, rows, name, form):
        """Mean and deviation on one kind of device."""
        return spread(measured(rows, name), form) or ("-" if rows else self.missing)


def worked(row):
    """A run on one thread with the processor's seconds, where they are known, for its own.

    Wall time depends on what else the machine did.
    """
    known = row["threads"] == 1 and row.get("cpu_seconds")
    return row | {"seconds": row["cpu_seconds"]} if known else row


def of_one_clock(rows, usual):
    """The rows whose seconds compare: of the usual processor if there are any, else of another
    one; of those, the ones whose processor seconds are known, if there are any."""
    models = [row["cpu"] for row in rows]
    model = usual if usual in models else max(models, key=models.count, default=None)
    same = [row for row in rows if row["cpu"] == model]
    return [row for row in same if row["threads"] == 1 and row.get("cpu_seconds")] or same


def measured(rows, name):
    return [row[name] for row in rows if row.get(name) is not None]


def groups(rows, kinds, dataset=None):
    """Every method of these kinds, in the order of the tables, with its rows of a data set."""
    known = entrants()
    unlisted = {row["method"] for row in rows} - known.keys()
    listed = known | {name: Entrant(f"`{name}`", "method", None) for name in sorted(unlisted)}
    models = [row["cpu"] for row in rows if row["device"] == "cpu"]
    usual = max(models, key=models.count, default=None)
    return [
        Group(
            name,
            entrant,
            [row for row in rows if row["method"] == name],
            usual,
            dataset is None or dataset in entrant.datasets,
        )
        for name, entrant in listed.items()
        if entrant.group in kinds
    ]


MAIN = ("method", "variant", "peer")

# -- texts --------------------------------------------------------------------------------


def render(recorded):
    """Make the block of README.md and the page docs/results.md from the rows by data set."""
    if not recorded:
        return NOTHING_YET, PAGE.format(summary=NOTHING_YET, details="").rstrip() + "\n"
    parts = [summarise(recorded)]
    if any(group.values("acc") for rows in recorded.values() for group in groups(rows, MAIN)):
        parts.append(PICTURE_TEXT)
    details = [detail(name, rows) for name, rows in recorded.items()]
    details += [text for name, rows in recorded.items() if (text := ablations(name, rows))]
    page = PAGE.format(summary="\n\n".join(parts), details="\n\n".join(details))
    return parts[0], page.rstrip() + "\n"


def summarise(recorded):
    """Accuracies of all methods on all data sets in one table."""
    columns = [groups(rows, MAIN, dataset) for dataset, rows in recorded.items()]
    names = {group.name: group.entrant for column in columns for group in column}
    found = [{group.name: group for group in column} for column in columns]
    lines = []
    for name, entrant in names.items():
        cells = [column.get(name, Group(name, entrant, [])) for column in found]
        if entrant.group != "peer" or any(cell.rows for cell in cells):
            shown = [emphasise(cell, column) for cell, column in zip(cells, columns, strict=True)]
            lines.append([entrant.title, *shown])
    head = ["method", *(DATASETS[name].column for name in recorded)]
    rows = [row for column in columns for group in column for row in group.rows]
    return f"{CAPTION.format(runs=counts(columns))} {hardware(rows)}.\n\n{table(head, lines)}"


def emphasise(group, column):
    """The cell of a method, in bold if no other method of the data set has a better mean."""
    text = group.cell("acc", ".3f")
    best = max((other.mean("acc") or 0 for other in column), default=0)
    mean = group.mean("acc")
    return f"**{text}**" if mean is not None and f"{mean:.3f}" == f"{best:.3f}" else text


def counts(columns):
    """How many runs there are of a method on a data set: one number or a range."""
    return span({len(group.values("acc")) for column in columns for group in column} - {0})


def span(numbers):
    few, many = min(numbers, default=0), max(numbers, default=0)
    return str(many) if few == many else f"{few} to {many}"


def detail(dataset, rows):
    """Everything about one data set: means, every run, and what it ran on."""
    here = [group for group in groups(rows, MAIN, dataset) if shown(group)]
    head = ["method", "device", "seed", *(name.upper() for name in SCORES), "clusters"]
    head += ["epochs or iterations", "seconds", "peak MB", "images per second", "processor"]
    runs = [run_cells(group, row) for group in here for row in group.rows]
    ran_on = "\n".join(f"- {text}" for text in sorted({software(row) for row in rows}))
    parts = [f"## {DATASETS[dataset].title}", means(here), failures(here)]
    parts += ["Every run:", table(head, runs), "These ran on:", ran_on]
    return "\n\n".join(part for part in parts if part)


def shown(group):
    return group.rows or group.missing != "-"


def means(groups):
    head = ["method", "runs", *(name.upper() for name in SCORES), "seconds", "peak MB"]
    lines = []
    for group in groups:
        scores = [group.cell(name, ".3f") for name in SCORES]
        costs = [
            group.cost(group.timed, "seconds", ".1f"),
            group.cost(group.on_cpu, "peak_memory_mb", ".0f"),
            group.cost(group.on_gpu, "seconds", ".1f"),
        ]
        lines.append([group.entrant.title, str(len(group.values("acc"))), *scores, *costs])
    return table([*head, "GPU seconds"], lines)


def run_cells(group, row):
    run = [group.entrant.title, row["device"], str(row["seed"])]
    if "error" in row:
        return [*run, "failed", *["-"] * 7, row["cpu"]]
    scores = [format(row[name], ".4f") for name in SCORES]
    clusters, rounds, memory, speed = (
        str(row.get(name) or "-")
        for name in ("n_clusters", "n_iter", "peak_memory_mb", "images_per_second")
    )
    seconds = format(row["seconds"], ".1f")
    return [*run, *scores, clusters, rounds, seconds, memory, speed, row["cpu"]]


def failures(groups):
    """Why runs failed; a pipe would end the cell of a table, so it is a list."""
    return "\n".join(
        f"- {group.entrant.title}, seed {row['seed']}, failed: `{reason(row)}`"
        for group in groups
        for row in group.rows
        if "error" in row
    )


def reason(row):
    """The first line of an error, which may go on for pages."""
    lines = row["error"].strip().splitlines() or ["no reason given"]
    return lines[0].replace("`", "'")[:200]


def ablations(dataset, rows):
    """Methods with one parameter changed, each below the method as it is by default."""
    changed = [group for group in groups(rows, ("ablation",)) if group.rows]
    bases = {group.name: group for group in groups(rows, ("method",))}
    ordered = []
    for base in dict.fromkeys(group.entrant.base for group in changed):
        ordered += [bases[base], *(group for group in changed if group.entrant.base == base)]
    if not ordered:
        return ""
    title = f"## One parameter changed: {DATASETS[dataset].column}"
    parts = [title, ABLATION_TEXT, means(ordered), failures(changed)]
    return "\n\n".join(part for part in parts if part)


def spread(values, form):
    if len(values) < 2:
        return "".join(format(value, form) for value in values)
    return f"{statistics.mean(values):{form}} ± {statistics.stdev(values):{form}}"


def hardware(rows):
    """Processors, without what they can multiply, and numbers of threads."""
    names = " and ".join(sorted({row["cpu"].split(",")[0] for row in rows}))
    return f"{names}; threads: {span({row['threads'] for row in rows})}"


def short(commit):
    if not commit:
        return "not recorded"
    return commit[:12] + (" with changes" if commit.endswith("-dirty") else "")


def software(row):
    gpu = row["gpu"] or "none"
    peers = "".join(f", {name} {version}" for name, version in row.get("peers", {}).items())
    return (
        f"{row['cpu']}, cores: {row['cores']}, threads: {row['threads']}, GPU: {gpu}; "
        f"skdeepclust {row['skdeepclust']} (commit {short(row['commit'])}), torch {row['torch']}, "
        f"scikit-learn {row['sklearn']}{peers}"
    )


def table(head, lines, align="---:"):
    """A table in Markdown; `align` is of all columns but the first."""
    rows = [head, ["---"] + [align] * (len(head) - 1), *lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


PICTURE_TEXT = f"""![Accuracy against seconds, a panel for each data set]({PICTURE})

Every point is the mean of a method's runs on the CPU; up and to the left is better."""

ABLATION_TEXT = """The first row of each method is the method at its default parameters; each row
below changes what stands in brackets and nothing else."""

PAGE = f"""% Written by asv_bench/results.py from asv_bench/results/*.json: do not edit.

# Results

What `python asv_bench/results.py` measured.

{BEGIN}
{{summary}}
{END}

## Protocol

Every method is fitted to all images and scored on the same images; it never sees the classes.
All methods but DDC, DipDECK and HDBSCAN are told the number of classes. The clusters are those of
the last epoch: no epoch, seed or parameter of a run is chosen by its score.

Where a column says 10:1 the classes have unequal sizes, the last a tenth of the first and those
between in equal ratios: methods that want clusters of equal size are told apart from the others.

ACC is the accuracy after Hungarian matching; images in clusters beyond the number of classes count
as wrong. NMI is the mutual information normalised by the arithmetic mean of the entropies, ARI the
adjusted Rand index. Peak MB is the most memory that the process of the run held at once, with
Python, libraries and data. Every run has a process of its own. Seconds are those of the processor
in one fit on one thread, and the wall time where that was not recorded or there were more threads.
Not all runs had the same processor: the last column of "every run" names it, in newer runs with
what it can multiply. Means of seconds are of runs on one processor: that of most rows of the table,
or if a method has none there, another one, and then they do not compare. One with no more than avx2
takes about twice the seconds of one with avx512_bf16.

**Methods of skdeepclust** run at their default parameters. These were settled by trials that looked
at ACC, on the digits (seeds 0 to 5), on MNIST (one seed of IDFD, ProPos and SeCu, two of CDC) and,
for CDC, on COIL-20 (three seeds) and Fashion-MNIST (one): read the figures of these sets as those
of tuned defaults. On CIFAR-10 two other augmentations were tried for SeCu, and not taken.
BYOL + k-means is `ProPosClustering(scattering_weight=0, noise_std=0)`, and instance discrimination
+ k-means is `IDFDClustering(decorrelation_weight=0)`. Images come as they are; the methods augment
grey ones by small turns, shifts, changes of brightness and noise, and coloured ones by crops and
changes of colour.

**Other methods** see flattened pixels as float32 between 0 and 1, which the loss of VaDE requires,
and no augmented images. Their parameters are their packages' defaults and were not tuned here,
except for:

- k-means takes the best of 10 restarts, spectral clustering works on a graph of nearest neighbours.
- UMAP has `n_neighbors=30, min_dist=0`, as its documentation advises for clustering, and
  `n_components=10`; a fixed seed confines it to one thread. Its seconds include compiling, which
  every process does anew.
- HDBSCAN, that of scikit-learn, has `min_samples=10` and clusters of at least 1/140 of the images
  (at least 10), as in UMAP's documentation. Images that it calls noise count as one more cluster.
- DEC, IDEC, DDC, DipDECK, N2D and VaDE are ClustPy's, with its fully connected autoencoder.
  DDC and DipDECK find the number of clusters themselves. N2D maps by UMAP with
  `n_neighbors=20, min_dist=0` and a dimension for each cluster, as in its paper: the t-SNE map
  that ClustPy takes by default is an error from four clusters on.

{{details}}
"""

# -- plot ---------------------------------------------------------------------------------

INK, GRID = "#222222", "#d9d9d9"
# Colours of Okabe and Ito; the shapes say the same again.
STYLES = {
    "method": {"color": "#0072b2", "marker": "o", "label": "skdeepclust"},
    "variant": {"color": "#e69f00", "marker": "s", "label": "skdeepclust, by parameter"},
    "peer": {"color": "#6b6b6b", "marker": "^", "label": "other packages"},
}


def draw(recorded, docs):
    """Plot accuracy against seconds into the folder of the documentation."""
    found = {name: points(rows) for name, rows in recorded.items()}
    found = {name: groups for name, groups in found.items() if groups}
    if not found:
        return
    try:
        import matplotlib
    except ImportError:
        print('No plot was drawn, which needs matplotlib: pip install "skdeepclust[plot]"')
        return
    path = docs / PICTURE
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without a date and with fixed identifiers, the same rows give the same file.
    with matplotlib.rc_context({"svg.hashsalt": "results", "font.size": 8}):
        figure = panels(found)
        figure.savefig(path, metadata={"Date": None}, facecolor="white")


def points(rows):
    """Methods with accuracy and time on a CPU."""
    return [
        group
        for group in groups([row for row in rows if row["device"] == "cpu"], MAIN)
        if group.values("acc")
    ]


def panels(found):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height = -(-len(found) // 2)
    figure = Figure(figsize=(10, 0.5 + 3.6 * height), layout="constrained")
    FigureCanvasAgg(figure)  # one that measures text
    axes = figure.subplots(height, 2, squeeze=False).ravel()
    for ax in axes[len(found) :]:
        ax.axis("off")
    handles = {}
    for ax, (name, groups) in zip(axes, found.items(), strict=False):
        handles |= panel(ax, DATASETS[name].column, groups)
    kinds = [kind for kind in STYLES if kind in handles]
    legend = [handles[kind] for kind in kinds], [STYLES[kind]["label"] for kind in kinds]
    figure.legend(*legend, loc="outside upper center", ncols=3, frameon=False)
    figure.draw_without_rendering()  # labels need to know where the axes came to lie
    for ax, groups in zip(axes, found.values(), strict=False):
        label(ax, groups)
    return figure


def panel(ax, title, groups):
    """One point for each method, with its deviation; the handles of the kinds there are."""
    handles = {}
    for group in groups:
        style = STYLES[group.entrant.group]
        values = group.values("acc")
        error = statistics.stdev(values) if len(values) > 1 else 0
        handles[group.entrant.group] = ax.errorbar(
            *position(group), yerr=error, fmt=style["marker"], color=style["color"], markersize=5
        )
    ax.set(xscale="log", title=title, xlabel="seconds", ylabel="ACC")
    ax.margins(x=0.18, y=0.1)
    ax.grid(color=GRID, linewidth=0.5)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    return handles


def position(group):
    return max(statistics.mean(measured(group.timed, "seconds")), 0.01), group.mean("acc")


def label(ax, groups):
    """Name every point, at the first place around it that no point and no name has taken."""
    renderer = ax.figure.canvas.get_renderer()
    taken = [marker_box(ax, group) for group in groups]
    for group in sorted(groups, key=position):
        text = ax.annotate(
            group.name.removesuffix("Clustering"),
            position(group),
            xytext=PLACES[0][0],
            textcoords="offset points",
            size=7,
            color=INK,
            in_layout=False,
        )
        for offset, align in PLACES:
            text.set(position=offset, ha=align, va="center")
            box = text.get_window_extent(renderer)
            inside = ax.bbox.x0 <= box.x0 and box.x1 <= ax.bbox.x1
            if inside and not any(box.overlaps(other) for other in taken):
                break
        taken.append(box)


def marker_box(ax, group):
    from matplotlib.transforms import Bbox

    x, y = ax.transData.transform(position(group))
    return Bbox.from_bounds(x - 6, y - 6, 12, 12)


# Where a name may stand: to the right, left, above and below, then further away.
PLACES = [
    (offset, align)
    for step in range(0, 45, 9)
    for rise in {step, -step}
    for offset, align in (((7, rise), "left"), ((-7, rise), "right"), ((0, rise + 9), "center"))
]
