"""The made-up bundles of the serving tests, which are attacked here."""

from tests.serving.conftest import (  # noqa: F401
    bundle,
    bundle_path,
    other_path,
    patient,
    study,
    table,
)
