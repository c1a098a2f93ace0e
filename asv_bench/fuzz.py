"""Samples and parameters that nobody would pass, drawn by hypothesis, and what comes of them."""

import re
import sys
import time
import warnings

import numpy as np
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.sparse import csr_array
from subjects import TINY, images, make

import skdeepclust
from skdeepclust.engine.loop import Diverged

# -- parameters -----------------------------------------------------------------------------------

# Anything may be passed there, or it takes its time: what is not fuzzed.
FREE = {"verbose", "checkpoint", "compile"}
# Numbers that are counted up to, and for which a network is made: larger ones take long, or
# far more memory than there is, which is an error at once.
NUMBERS = st.one_of(
    st.integers(-3, 20), st.sampled_from([10**12, -(10**12), 2**63]), st.floats(), st.booleans()
)
ODD = st.one_of(
    st.none(),
    st.text(max_size=30),
    st.sampled_from(["auto", "none", "\0", "x" * 999, "cuda:99", "sgd", "constant"]),
    st.binary(max_size=5),
    st.complex_numbers(),
    st.sampled_from([int, len, object(), range(3), torch.ones(2), torch.nn.Flatten()]),
    st.sampled_from([lambda x: x, lambda x: x[:1], lambda x: None, np.int64(3), np.float32(0.5)]),
    arrays.arrays(arrays.scalar_dtypes(), arrays.array_shapes(max_dims=2, max_side=3)),
)


def parameters_of(name):
    """Up to three parameters of a method with odd values."""
    free = sorted(set(make(name).get_params()) - FREE)
    value = NUMBERS | ODD
    value = value | st.lists(value, max_size=3) | st.lists(value, max_size=3).map(tuple)
    value = value | st.dictionaries(st.text(max_size=3), value, max_size=2)
    chosen = st.dictionaries(st.sampled_from(free), value, min_size=1, max_size=3)
    return st.tuples(st.just(name), chosen.filter(ends))


def ends(params):
    """A million million rounds are no mistake that anybody could see."""
    rounds = [v for k, v in params.items() if k.endswith(("_epochs", "_iterations"))]
    return not any(isinstance(v, int | float | np.number) and v > 20 for v in rounds)


PARAMETERS = st.sampled_from(sorted(skdeepclust.METHODS)).flatmap(parameters_of)


def parameters(scale):
    """Parameters that nobody would pass, one to three at a time."""
    X = images(40)
    make("IDFDClustering", max_epochs=1).fit(X)  # the first fit of a process tries the hardware

    def fit(example):
        name, params = example
        make(name, **TINY).set_params(**params).fit(X)

    def names(example):
        return [*example[1], "n_samples", "Training diverged"]

    return fuzzed(PARAMETERS, fit, names, round(10_000 * scale), 0.05)


# -- samples --------------------------------------------------------------------------------------

DTYPES = st.one_of(
    st.sampled_from([np.dtype(kind) for kind in ("f8", "f4", "u1", "i8", "f2", "?")]),
    arrays.scalar_dtypes(),
    arrays.unicode_string_dtypes(max_len=3),
    arrays.byte_string_dtypes(max_len=3),
    st.sampled_from([np.dtype("O"), np.dtype("g")]),
)
SIDES = st.sampled_from([1, 2, 3, 4, 5, 8, 9])
SHAPES = st.one_of(
    st.tuples(SIDES, st.sampled_from([1, 3]), SIDES, SIDES),
    st.tuples(SIDES, SIDES),
    st.lists(st.just(0) | SIDES, max_size=5).map(tuple),
)


@st.composite
@np.errstate(all="ignore")
def contents(draw):
    """An array of any shape and type, of extreme or of ordinary values."""
    shape, dtype = draw(SHAPES), draw(DTYPES)
    if draw(st.booleans()) and np.prod(shape) < 100:
        elements = st.none() | NUMBERS | st.text(max_size=3) if dtype.kind == "O" else None
        return draw(arrays.arrays(dtype, shape, elements=elements))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    x = rng.choice([0.0, 1.0, 255.0, -1e3, 1e30, 1e-30], shape) + rng.random(shape)
    return np.asarray(x).astype(dtype if dtype.kind != "m" else "i8")


@np.errstate(all="ignore")
def as_tensor(x):
    return torch.from_numpy(x.astype("f4")) if x.dtype.kind in "fiub" else x


def as_sparse(x):
    return csr_array(x.astype("f8")) if x.ndim == 2 and x.dtype.kind in "fiu" else x


def constant(x):
    return np.full_like(x, x.flat[0]) if x.size else x


SAMPLES = st.one_of(
    contents(),
    contents().map(constant),
    contents().map(as_tensor),
    contents().map(as_sparse),
    contents().map(np.ndarray.tolist),
    contents().map(lambda x: x[..., ::-1] if x.ndim else x),
    st.sampled_from([None, 3, "none", b"x", object(), {}, (), [[]], [1, [2]], np.nan]),
)
WORDS = ["X", "sample", "samples", "feature", "features", "image_shape", "array", "dtype", "file"]
WORDS += ["Complex", "numbers", "dimensions", "images", "n_samples"]


def inputs(scale):
    """Samples of any shape, type and content, to a fit and to a prediction."""
    fitted = make("IDFDClustering", **TINY).fit(images(40))
    calls = st.sampled_from(["predict", *skdeepclust.METHODS])

    def run(example):
        name, x = example
        if name == "predict":
            fitted.predict(x)
        else:
            make(name, **TINY).set_params(n_clusters=2).fit(x)

    return fuzzed(st.tuples(calls, SAMPLES), run, lambda _: WORDS, round(10_000 * scale), 10.0)


# -- what comes of them ---------------------------------------------------------------------------


def judged(call, names):
    """Whether a call works, or ends in an error that names one of these."""
    started = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            call()
        except (ValueError, TypeError, FileNotFoundError) as error:
            seconds = time.process_time() - started
            said = "\n".join([str(error), *getattr(error, "__notes__", ())])
            named = any(re.search(rf"(?<!\w){re.escape(name)}", said) for name in names)
            return ("refused" if named else "nameless"), seconds, error
        except MemoryError as error:
            return "refused", time.process_time() - started, error
        except Exception as error:
            return "crash", time.process_time() - started, error
    return "worked", time.process_time() - started, None


def fuzzed(examples, call, names, n, limit):
    """Outcomes of `n` examples; the first bad one ends it, and is shown as small as can be."""
    outcome, found = {"worked": 0, "refused": 0, "slowest_refusal_s": 0.0}, []

    @settings(
        max_examples=n,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(examples)
    def one(example):
        kind, seconds, error = judged(lambda: call(example), names(example))
        if seconds > limit:  # the pause of a garbage collection is not the call's: once more
            seconds = min(seconds, judged(lambda: call(example), names(example))[1])
        trained = isinstance(error, Diverged)  # then it was not refused, but tried
        slow = kind == "refused" and seconds > limit and not trained
        if kind in ("crash", "nameless") or slow:
            found.append(kind)
            raise AssertionError(f"{kind} after {seconds:.3f} s: {error!r}")
        if not found:
            outcome[kind] += 1
            if kind == "refused":
                outcome["slowest_refusal_s"] = max(outcome["slowest_refusal_s"], seconds)

    try:
        one()
    except BaseException as error:  # several bad ones come in a group
        print(*getattr(error, "__notes__", ()), error, sep="\n", file=sys.stderr)
        for part in getattr(error, "exceptions", ()):
            print(*getattr(part, "__notes__", ()), part, sep="\n", file=sys.stderr)
    return {"passed": outcome["worked"] + outcome["refused"], "of": n, **outcome}
