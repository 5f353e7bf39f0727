"""Problems of a request, and the error that refuses it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

#: Maximum of problems in an error.
MOST_PROBLEMS = 20
#: Error code of an invalid request, unless it has one of its own.
INVALID = "invalid_request"


@dataclass
class RequestError(Exception):
    """Refusal of a request; its texts hold no submitted value."""

    code: str
    """Short name of the kind of error, for programs."""
    message: str
    """Text for people."""
    details: list[dict[str, Any]] = field(default_factory=list)
    """Place (``where``) and text (``problem``) of each problem."""
    status: int = 400
    """HTTP status."""


@dataclass
class Problems:
    """Collection of a request's problems, so that one answer names them all."""

    listed: list[dict[str, Any]] = field(default_factory=list)
    """Place (``where``) and text (``problem``) of each problem."""

    @property
    def full(self) -> bool:
        """Whether the maximum number of problems has been collected."""
        return len(self.listed) >= MOST_PROBLEMS

    def add(self, where: str, problem: str) -> None:
        """Add a problem at a place of the request, unless the list is full.

        Args:
            where: place in the request, such as ``patients[3].age``.
            problem: text of the problem, without a submitted value.
        """
        if not self.full:
            self.listed.append({"where": where, "problem": problem})

    def raise_any(self, code: str, message: str) -> None:
        """Raise an error that lists the problems, if there are any.

        Args:
            code: code of the error.
            message: beginning of its text.

        Raises:
            RequestError: there are problems.
        """
        if self.listed:
            first = self.listed[0]
            text = f"{message}: {first['where']}: {first['problem']}"
            raise RequestError(code, text, self.listed)
