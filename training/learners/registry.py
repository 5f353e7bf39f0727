"""The learners by name: a new one is added here and in a file of its own."""

from __future__ import annotations

from collections.abc import Iterable

from accomplice.data.errors import InputError
from accomplice.training.learners.anchor import Anchor
from accomplice.training.learners.boosting import Boosting
from accomplice.training.learners.forest import Forest
from accomplice.training.learners.learner import Learner

#: The learners of each fold, in the order in which they are fitted. The network's inputs are scaled
#: by the first. Names are those of bundles; a new learner is the last.
LEARNERS: dict[str, type[Learner]] = {"anchor": Anchor, "forest": Forest, "boosting": Boosting}
#: Name of the network, which is fitted for all folds at once.
NET = "net"


def registered(names: Iterable[str]) -> tuple[str, ...]:
    """Return some learners' names in the order of the registry.

    Raises:
        InputError: there is no learner of a name.
    """
    given = set(names)
    if unknown := given - set(LEARNERS):
        raise InputError(f"no learner is named {', '.join(sorted(unknown))}")
    return tuple(name for name in LEARNERS if name in given)


def stack_order(names: Iterable[str] | None = None) -> tuple[str, ...]:
    """Return all names in the order of the stack's weights: the network is the second.

    Args:
        names: of a fold's learners; all that are registered if absent.
    """
    first, *rest = LEARNERS if names is None else names
    return (first, NET, *rest)
