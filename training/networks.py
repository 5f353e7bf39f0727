"""The fitted networks of all folds, as arrays: what answers needs neither torch nor its start.

What ``training.passes`` computes for a step of training, written for an answer. Patients come in
tiles of sixteen, each a product of its own: a product's kernel treats what fills its registers
alike, but adds up the columns of wider or narrower ones in another order, by which what one patient
is told would hang, in the seventh digit, on who else is asked about.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

#: Patients of a tile.
TILE = 16
#: Patients worked on at once, so that memory does not grow with their number.
CHUNK = 512


@dataclass(frozen=True)
class NetShape:
    """Sizes that decide the network's tensors."""

    folds: int
    members: int
    modalities: tuple[int, ...]
    """How many inputs each modality has; a patient's inputs are laid out one after another."""
    bins: int
    encoder_width: int
    hidden_width: int

    @property
    def inputs(self) -> int:
        """How many inputs a patient has."""
        return sum(self.modalities)

    def to_json(self) -> dict[str, Any]:
        """Return the shape as plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> NetShape:
        """Rebuild from :meth:`to_json`."""
        return cls(**{**raw, "modalities": tuple(raw["modalities"])})


class _Laid(NamedTuple):
    """Weights of k folds with m networks each, ready to be multiplied by tiles of patients."""

    encode: tuple[Floats, ...]
    """By modality (k, 1, m * e, its rows): weights, bias, token."""
    mix: Floats
    """(k, 1, m * blocks + m, rows) of gates and skip; of the skip alone where there is one
    modality."""
    fuse: Floats
    """(k, 1, m, h, blocks * e + 1) weights and bias."""
    hazard: Floats
    """(k, 1, m, j, h + 2) weights, bias, and ones that pass the skip on to all bins."""


@dataclass(frozen=True)
class Networks:
    """Fitted networks: k folds of m members."""

    shape: NetShape
    weights: Mapping[str, Floats]
    """By the names of the parameters of ``training.net.PackedNet``."""

    def logits(self, x: Floats, present: Floats) -> Floats:
        """Log-odds of the hazards (k, m, n, bins).

        Args:
            x: (k, inputs, n) preprocessed inputs; 0 is the training mean.
            present: (k or 1, modalities, n) 1 where the patient's modality is known.
        """
        n = x.shape[2]
        found = np.empty((self.shape.folds, self.shape.members, n, self.shape.bins), np.float32)
        for start in range(0, n, CHUNK):
            rows = slice(start, min(start + CHUNK, n))
            made = self._tiles(self._lay_out(x[:, :, rows], present[:, :, rows]))
            # (k, t, m, bins, TILE), patients last.
            apart = made.transpose(0, 2, 1, 4, 3).reshape(*found.shape[:2], -1, found.shape[3])
            found[:, :, rows] = apart[:, :, : rows.stop - start]
        return found

    def _lay_out(self, x: Floats, present: Floats) -> Floats:
        """Arrange n patients in tiles (k, t, rows, TILE), the last filled up with nobody.

        The rows are, modality by modality, its inputs, 0 where it is missing; one that is 1 where
        it is known, which carries the bias; and one that is 1 where it is not, with its token.
        """
        k, n = self.shape.folds, x.shape[2]
        tiles = -(-n // TILE)
        flat = np.zeros((k, self._rows, tiles * TILE), np.float32)
        begin = row = 0
        for j, size in enumerate(self.shape.modalities):
            known = present[:, j : j + 1]
            own = flat[:, row : row + size, :n]
            np.multiply(x[:, begin : begin + size], known, out=own)
            flat[:, row + size : row + size + 1, :n] = known
            flat[:, row + size + 1 : row + size + 2, :n] = 1 - known
            begin, row = begin + size, row + size + 2
        apart = flat.reshape(k, self._rows, tiles, TILE)
        return np.ascontiguousarray(apart.transpose(0, 2, 1, 3))

    def _tiles(self, x: Floats) -> Floats:
        """Log-odds of the hazards (k, t, m, bins, TILE) of tiles that :meth:`_lay_out` made."""
        laid, (k, t, _, n) = self._laid, x.shape
        m, e, h = self.shape.members, self.shape.encoder_width, self.shape.hidden_width
        blocks = len(self.shape.modalities)
        mixed = laid.mix @ x
        fused = np.empty((k, t, m, blocks * e + 1, n), np.float32)
        fused[:, :, :, -1] = 1
        # Twice the logistic function, which so has no large numbers on the way.
        gate = 1 + np.tanh(mixed[:, :, :-m] / 2).reshape(k, t, m, -1, 1, n)
        begin = 0
        for j, weight in enumerate(laid.encode):
            rows = x[:, :, begin : begin + weight.shape[3]]
            begin += weight.shape[3]
            part = fused[:, :, :, j * e : (j + 1) * e]
            # ReLU where the modality is known; a token passes as it is.
            floor = np.where(rows[:, :, None, None, -2] > 0, np.float32(0), np.float32(-np.inf))
            np.maximum((weight @ rows).reshape(k, t, m, e, n), floor, out=part)
            if blocks > 1:
                part *= gate[:, :, :, j]
        hidden = np.empty((k, t, m, h + 2, n), np.float32)
        np.maximum(laid.fuse @ fused, np.float32(0), out=hidden[:, :, :, :-2])
        hidden[:, :, :, -2] = 1
        hidden[:, :, :, -1] = mixed[:, :, -m:]
        found: Floats = laid.hazard @ hidden
        return found

    @property
    def _rows(self) -> int:
        return self.shape.inputs + 2 * len(self.shape.modalities)

    @cached_property
    def _laid(self) -> _Laid:
        own, blocks = self.weights, len(self.shape.modalities)
        k, m = self.shape.folds, self.shape.members
        encode = [
            np.concatenate([own[f"encode.{j}"], own["encode_bias"][j], own["token"][j]], axis=1)
            for j in range(blocks)
        ]
        mix = self._by_modality(own["skip"], np.zeros((k, blocks, m), np.float32))
        if blocks > 1:
            gates = self._by_modality(own["gate"], own["gate_bias"])
            mix = np.concatenate([gates, mix], axis=2)
        bias = own["hazard_bias"]
        fuse = np.concatenate([own["fuse"], own["fuse_bias"]], axis=1)
        hazard = np.concatenate([own["hazard"], bias, np.ones_like(bias)], axis=1)
        each = (array.reshape(k, m, *array.shape[1:]) for array in (fuse, hazard))
        return _Laid(tuple(map(_ready, encode)), _ready(mix), *map(_ready, each))

    def _by_modality(self, weight: Floats, known: Floats) -> Floats:
        """Weights (k, rows, c) of what :meth:`_lay_out` made, from those of inputs and presence."""
        ends = np.cumsum(self.shape.modalities)[:-1].tolist()
        missing = np.zeros((len(known), 1, known.shape[2]), np.float32)
        parts = zip(np.split(weight, ends, axis=1), known.transpose(1, 0, 2), strict=True)
        return np.concatenate([p for w, b in parts for p in (w, b[:, None], missing)], axis=1)


def _ready(weight: Floats) -> Floats:
    """Turn weights (k, …, rows, c) to be multiplied from the left, with room for the tiles."""
    return np.ascontiguousarray(np.swapaxes(weight, -1, -2))[:, None]
