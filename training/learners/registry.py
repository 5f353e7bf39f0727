"""Registry of the learners by name; a new learner is a module of its own and an entry here."""

from __future__ import annotations

from collections.abc import Iterable

from accomplice.data.errors import InputError
from accomplice.training.learners.anchor import Anchor
from accomplice.training.learners.boosting import Boosting
from accomplice.training.learners.forest import Forest
from accomplice.training.learners.learner import Learner

#: Name -> learner, in the order of fitting; bundles store these names. The coefficients of the
#: first learner scale the network's inputs. A new learner goes last.
LEARNERS: dict[str, type[Learner]] = {"anchor": Anchor, "forest": Forest, "boosting": Boosting}
#: Name of the network, which is fitted for all folds at once.
NET = "net"


def registered(names: Iterable[str]) -> tuple[str, ...]:
    """Return names of learners in the order of the registry.

    Raises:
        InputError: a name is not in the registry.
    """
    given = set(names)
    if unknown := given - set(LEARNERS):
        raise InputError(f"no learner is named {', '.join(sorted(unknown))}")
    return tuple(name for name in LEARNERS if name in given)


def stack_order(names: Iterable[str] | None = None) -> tuple[str, ...]:
    """Return the learners' names in the order of the stack's weights: the network's is second.

    Args:
        names: names of a fold's learners, without the network; all registered ones if absent.
    """
    first, *rest = LEARNERS if names is None else names
    return (first, NET, *rest)
