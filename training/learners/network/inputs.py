"""The network's inputs: selection, order and scale of the columns of design and embedding.

The design is linear and the embedding piecewise linear; see `preprocessor.Preprocessor`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array, Ints, Singles
from accomplice.data.preprocessing.preprocessor import Preprocessor

#: Scale of an input whose feature has coefficient 0 in the linear model.
FAINT = 0.05
#: Maximum number of inputs of one modality.
MOST_INPUTS = 512


class NetColumns(NamedTuple):
    """Inputs of one fold's network."""

    order: Ints
    """(i,) columns of the inputs, modality by modality; those of the embedding are numbered after
    those of the linear design."""
    scale: Array
    """(i,) factor of each input."""


def net_columns(preprocessor: Preprocessor, beta: Array) -> NetColumns:
    """Choose and scale the inputs of a fold's network.

    A feature's scale is FAINT + (1 − FAINT) · w / max w, where w is the norm of the coefficients of
    its own columns in a linear model; products with other features do not count. An input of
    several features has the mean of their scales. Features without a linear effect get small
    inputs, so that the network fits less of their noise (an adaptive penalty, as in Zou, "The
    adaptive lasso and its oracle properties", JASA 2006). Of a modality with more than
    ``MOST_INPUTS`` inputs, those with the largest scales are kept.

    Args:
        preprocessor: fitted preprocessing of the fold.
        beta: (p,) coefficients of the fold's linear model, by column of the design.
    """
    columns = preprocessor.linear_columns()
    weight = dict.fromkeys(preprocessor.study.features, 0.0)
    for column, coefficient in zip(columns, beta, strict=True):
        if len(column.features) == 1:
            feature = column.features[0]
            weight[feature] = float(np.hypot(weight[feature], coefficient))
    most = max(weight.values()) or 1.0
    weight = {f: FAINT + (1 - FAINT) * w / most for f, w in weight.items()}
    embedded = preprocessor.embedded_columns()
    scale = np.array([np.mean([weight[f] for f in c.features]) for c in [*columns, *embedded]])
    modality, kept = _modality(preprocessor), []
    for j in range(len(preprocessor.blocks)):
        own = np.flatnonzero(modality == j)
        largest = np.argsort(-scale[own], kind="stable")[:MOST_INPUTS]
        kept.append(own[np.sort(largest)])
    order = np.concatenate(kept)
    return NetColumns(order, scale[order])


def net_modalities(preprocessor: Preprocessor) -> tuple[int, ...]:
    """Return the number of the network's inputs of each modality."""
    blocks = len(preprocessor.blocks)
    inputs = np.bincount(_modality(preprocessor), minlength=blocks)
    return tuple(np.minimum(inputs, MOST_INPUTS).tolist())


def _modality(preprocessor: Preprocessor) -> Ints:
    """Return the position of the modality of each column of the design, then of the embedding."""
    rank = {m: i for i, m in enumerate(preprocessor.blocks)}
    columns = [*preprocessor.linear_columns(), *preprocessor.embedded_columns()]
    return np.array([rank[c.modality] for c in columns])


@dataclass(frozen=True)
class NetInputs:
    """The inputs of k folds' networks."""

    order: Ints
    """(k, i) columns of :class:`NetColumns`, numbered through the columns of all folds in turn."""
    scale: Singles
    """(k, i, 1) factor of each input."""

    @classmethod
    def of(cls, preprocessors: list[Preprocessor], betas: list[Array]) -> Self:
        """Choose and scale the inputs of each fold; see :func:`net_columns`.

        Args:
            preprocessors: fitted preprocessing of each fold.
            betas: for each fold the coefficients (p,) of its linear model.
        """
        columns = [net_columns(p, beta) for p, beta in zip(preprocessors, betas, strict=True)]
        first = preprocessors[0]
        width = len(first.linear_columns()) + len(first.embedded_columns())
        order = np.stack([own.order + k * width for k, own in enumerate(columns)])
        scale = np.stack([own.scale for own in columns]).astype(np.float32)
        return cls(order, scale[:, :, None])

    def take(self, linear: NDArray[np.floating], embedded: Singles) -> Singles:
        """Return the inputs (k, i, n) from designs (k, n, p) and embeddings (k, q, n).

        Args:
            linear: (k, n, p) linear designs.
            embedded: (k, q, n) embeddings.
        """
        design = linear.astype(np.float32, copy=False).transpose(0, 2, 1)
        both = np.concatenate([design, embedded], axis=1)
        x = both.reshape(-1, both.shape[2]).take(self.order, axis=0)
        x *= self.scale
        return x
