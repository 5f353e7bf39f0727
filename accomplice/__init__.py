"""Train, tune, track and serve multimodal survival and therapy-response models.

The public Python API; its names are imported when they are first asked for.

    import accomplice

    run = accomplice.train("study.yaml", out="model")
    table = accomplice.predict(run.bundle, "new.csv", times=[12, 36])
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accomplice.api import Run as Run
    from accomplice.api import evaluate as evaluate
    from accomplice.api import load as load
    from accomplice.api import load_cohort as load_cohort
    from accomplice.api import predict as predict
    from accomplice.api import read_study as read_study
    from accomplice.api import train as train
    from accomplice.api import tune as tune
    from accomplice.estimator import SurvivalEstimator as SurvivalEstimator

    __version__: str

#: Public name -> the module that has it.
_MODULES = {
    **dict.fromkeys(("read_study", "load_cohort", "train", "tune"), "accomplice.api"),
    **dict.fromkeys(("evaluate", "load", "predict", "Run"), "accomplice.api"),
    "SurvivalEstimator": "accomplice.estimator",
}

__all__ = [
    "Run",
    "SurvivalEstimator",
    "__version__",
    "evaluate",
    "load",
    "load_cohort",
    "predict",
    "read_study",
    "train",
    "tune",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        found: Any = import_module("importlib.metadata").version("accomplice")
    elif name in _MODULES:
        found = getattr(import_module(_MODULES[name]), name)
    else:
        raise AttributeError(f"module 'accomplice' has no attribute '{name}'")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
