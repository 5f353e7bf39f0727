"""The registered model, logged as code: MLflow runs this file and pickles nothing.

MLflow executes it again at every load, in an environment where accomplice is installed.
"""

from __future__ import annotations

from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from accomplice import load


class BundleModel(PythonModel):
    """MLflow model of a bundle: its answers are those of ``Bundle.predict``."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load and check the bundle."""
        self.bundle = load(context.artifacts["bundle"])

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Return the table of ``Bundle.predict`` for a table of patients.

        Args:
            context: unused.
            model_input: one row for each patient, one column for each feature.
            params: ``times``: months at which survival is predicted; those of ``Bundle.predict`` if
                absent.

        Raises:
            InputError: as ``Bundle.predict``.
        """
        times = (params or {}).get("times")
        return self.bundle.predict(model_input, None if times is None else list(times))


mlflow.models.set_model(BundleModel())
