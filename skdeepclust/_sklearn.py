"""What we take from scikit-learn that is not public, new, or without types: in one place."""

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import PackageNotFoundError, metadata
from typing import Any, Self, TypeVar

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.utils._param_validation import Interval, StrOptions

__all__ = ["Interval", "StrOptions", "TransformingClusterer", "fit_context"]

_Fit = TypeVar("_Fit", bound=Callable[..., Any])


def fit_context(*, prefer_skip_nested_validation: bool) -> Callable[[_Fit], _Fit]:
    """Validate the parameters before ``fit``, and end its callbacks after it."""
    return _fit_context(prefer_skip_nested_validation=prefer_skip_nested_validation)


class _NoTasks:
    """The tasks of a fit that nobody follows."""

    def subcontext(self, task_name: str = "", **how: Any) -> Self:
        return self

    def call_on_fit_task_begin(self, **what: Any) -> Self:
        return self

    def call_on_fit_task_end(self, **what: Any) -> bool:
        return False

    def propagate_callback_context(self, estimator: Any) -> AbstractContextManager[None]:
        return nullcontext()


try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # before scikit-learn 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Takes no callbacks."""

        def _init_callback_context(self, **how: Any) -> _NoTasks:
            return _NoTasks()


def _documentation() -> str:
    """Address of the documentation, if the installed package names one."""
    try:
        urls = metadata("skdeepclust").get_all("Project-URL") or []
    except PackageNotFoundError:  # a tree that was never installed
        return ""
    named = dict(url.split(", ", 1) for url in urls)
    return named.get("Documentation", "").rstrip("/")


# True to mypy alone. To it the classes of scikit-learn are Any, and so would be every parameter
# of an estimator that inherits from them.
MYPY = False
if MYPY:

    class TransformingClusterer:
        _tasks: Any

        def _alone(self) -> Self: ...
        def get_params(self, deep: bool = True) -> dict[str, Any]: ...
        def set_params(self, **params: Any) -> Self: ...
        def get_metadata_routing(self) -> Any: ...
        def set_callbacks(self, *callbacks: Any) -> Self: ...
        def set_output(self, *, transform: str | None = None) -> Self: ...
        def fit_predict(self, X: Any, y: Any = None, **kwargs: Any) -> np.ndarray: ...
        def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> Any: ...
        def get_feature_names_out(self, input_features: Any = None) -> np.ndarray: ...
        def _init_callback_context(self, **how: Any) -> Any: ...
        def _validate_params(self) -> None: ...
        @classmethod
        def _get_param_names(cls) -> list[str]: ...
        def __sklearn_tags__(self) -> Any: ...

else:

    class TransformingClusterer(
        CallbackSupportMixin,
        ClassNamePrefixFeaturesOutMixin,
        TransformerMixin,
        ClusterMixin,
        BaseEstimator,
    ):
        """What scikit-learn gives to an estimator that clusters and transforms."""

        @property
        def _tasks(self) -> Any:
            """Where callbacks of scikit-learn follow a fit; None if there are none."""
            return self._callback_fit_ctx if hasattr(self, "_skl_callbacks") else None

        def _alone(self) -> Self:
            """A shallow copy that no callbacks of scikit-learn follow."""
            alone = copy.copy(self)
            vars(alone).pop("_skl_callbacks", None)
            return alone

        _doc_link_module = "skdeepclust"

        @property
        def _doc_link_template(self) -> str:
            """Page of the reference that the HTML picture of an estimator links to."""
            home = _documentation()
            return f"{home}/api/generated/{{page}}.html" if home else ""

        def _doc_link_url_param_generator(self) -> dict[str, str]:
            kind = type(self)
            # What the package exports itself is documented under that name.
            home = kind.__module__.partition(".methods.")[0].partition("._")[0]
            return {"page": f"{home}.{kind.__name__}"}
