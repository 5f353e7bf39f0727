"""The made-up bundles of the serving tests, for the verbs that serve one."""

from tests.serving.conftest import (  # noqa: F401
    bundle,
    bundle_path,
    other_path,
    study,
    table,
)
