"""The fitted networks of all folds as NumPy arrays, so that predictions need no torch.

The computation is the forward pass of ``network.forward_backward``, with its symbols. Patients are
divided into tiles of sixteen, and each tile has a matrix product of its own: since the order of
summation in a product depends on its width, the seventh digit of a prediction would otherwise
depend on the other patients of the batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Singles

#: Number of patients in a tile.
TILE = 16
#: Maximum number of patients predicted at once, which bounds the memory.
CHUNK = 512


@dataclass(frozen=True)
class NetShape:
    """Sizes that determine the shapes of the network's tensors."""

    folds: int
    """Number of folds, k."""
    members: int
    """Number of networks in each fold, m."""
    modalities: tuple[int, ...]
    """Number of inputs of each modality, in the order of a patient's inputs."""
    bins: int
    """Number of time bins, j."""
    encoder_width: int
    """Units of each modality's encoder, e."""
    hidden_width: int
    """Units of the hidden layer, h."""

    @property
    def inputs(self) -> int:
        """Number of inputs of a patient."""
        return sum(self.modalities)

    def to_json(self) -> dict[str, Any]:
        """Return the shape as plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> NetShape:
        """Rebuild from :meth:`to_json`."""
        return cls(**{**raw, "modalities": tuple(raw["modalities"])})

    def of_weights(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each weight of ``learners.network.model.PackedNet`` by name."""
        k, m, e, blocks = self.folds, self.members, self.encoder_width, len(self.modalities)
        return {
            **{f"encode.{j}": (k, size, m * e) for j, size in enumerate(self.modalities)},
            "encode_bias": (blocks, k, 1, m * e),
            "token": (blocks, k, 1, m * e),
            "gate": (k, self.inputs, m * blocks),
            "gate_bias": (k, blocks, m * blocks),
            "fuse": (k * m, blocks * e, self.hidden_width),
            "fuse_bias": (k * m, 1, self.hidden_width),
            "hazard": (k * m, self.hidden_width, self.bins),
            "hazard_bias": (k * m, 1, self.bins),
            "skip": (k, self.inputs, m),
        }


class _Laid(NamedTuple):
    """Weights of k folds with m networks each, arranged for products with tiles of patients."""

    encode: tuple[Singles, ...]
    """For each modality (k, 1, m * e, its rows): weights, bias and token."""
    mix: Singles
    """(k, 1, m * blocks + m, rows) weights of the gates and of the linear skip; (k, 1, m, rows) of
    the skip alone with one modality."""
    fuse: Singles
    """(k, m, 1, h, blocks * e + 1) weights and bias."""
    hazard: Singles
    """(k, m, 1, j, h + 2) weights, bias, and ones by which the skip is added to all bins."""


@dataclass(frozen=True)
class Networks:
    """Fitted networks: k folds of m members."""

    shape: NetShape
    """Sizes of the networks."""
    weights: Mapping[str, Singles]
    """Parameter of ``learners.network.model.PackedNet`` -> its values."""

    @classmethod
    def read(cls, raw: dict[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Networks:
        """Rebuild from :meth:`NetShape.to_json` and the weights.

        Raises:
            ValueError: the weights have not that shape.
        """
        shape = NetShape.from_json(raw)
        if {name: array.shape for name, array in arrays.items()} != shape.of_weights():
            raise ValueError("the weights have another shape")
        return cls(shape, {n: array.astype(np.float32, copy=False) for n, array in arrays.items()})

    def logits(self, x: Singles, present: Singles) -> Singles:
        """Return the log-odds of the hazards (k, m, n, bins).

        Args:
            x: (k, inputs, n) preprocessed inputs; 0 is the training mean.
            present: (k or 1, modalities, n) 1 where the patient's modality is known, else 0.
        """
        n = x.shape[2]
        found = np.empty((self.shape.folds, self.shape.members, n, self.shape.bins), np.float32)
        for start in range(0, n, CHUNK):
            rows = slice(start, min(start + CHUNK, n))
            padded = self._pass(self._lay_out(x[:, :, rows], present[:, :, rows]))
            found[:, :, rows] = padded[:, :, :, : rows.stop - start].swapaxes(2, 3)
        return found

    def by_fold(self) -> list[Networks]:
        """Return the networks of each fold as :class:`Networks` of one fold."""
        folds = self.shape.folds
        parts = {n: np.split(w, folds, axis=fold_axis(n)) for n, w in self.weights.items()}
        shape = replace(self.shape, folds=1)
        return [Networks(shape, {n: w[k] for n, w in parts.items()}) for k in range(folds)]

    def _lay_out(self, x: Singles, present: Singles) -> Singles:
        """Arrange n patients as (k, rows, n rounded up to whole tiles), padded with zeros.

        The rows of a modality are its inputs (0 where it is missing), a row that is 1 where it is
        known (multiplied by the bias), and a row that is 1 where it is missing (by the token).
        """
        n = x.shape[2]
        laid = np.zeros((self.shape.folds, self._rows, -(-n // TILE) * TILE), np.float32)
        begin = row = 0
        for j, size in enumerate(self.shape.modalities):
            known = present[:, j : j + 1]
            own = laid[:, row : row + size, :n]
            np.multiply(x[:, begin : begin + size], known, out=own)
            laid[:, row + size : row + size + 1, :n] = known
            laid[:, row + size + 1 : row + size + 2, :n] = 1 - known
            begin, row = begin + size, row + size + 2
        return laid

    def _pass(self, x: Singles) -> Singles:
        """Return the log-odds of the hazards (k, m, bins, n) from the array of :meth:`_lay_out`."""
        laid, (k, _, n) = self._laid, x.shape
        m, e, h = self.shape.members, self.shape.encoder_width, self.shape.hidden_width
        blocks = len(self.shape.modalities)
        mixed = _times(laid.mix, x, np.empty((k, laid.mix.shape[2], n), np.float32))
        # Twice the logistic function, 1 + tanh(x / 2), a form that cannot overflow.
        gate = mixed[:, :-m]
        gate /= 2
        np.tanh(gate, out=gate)
        gate += 1
        fused = np.empty((k, m, blocks * e + 1, n), np.float32)
        fused[:, :, -1] = 1
        encoded = np.empty((k, m * e, n), np.float32)
        begin = 0
        for j, weight in enumerate(laid.encode):
            rows = x[:, begin : begin + weight.shape[3]]
            begin += weight.shape[3]
            part = fused[:, :, j * e : (j + 1) * e]
            # ReLU where the modality is known; a token is not changed.
            floor = np.where(rows[:, None, -2:-1] > 0, np.float32(0), np.float32(-np.inf))
            units = _times(weight, rows, encoded).reshape(k, m, e, n)
            if blocks == 1:
                np.maximum(units, floor, out=part)
            else:
                np.maximum(units, floor, out=units)
                np.multiply(units, gate.reshape(k, m, blocks, 1, n)[:, :, j], out=part)
        hidden = np.empty((k, m, h + 2, n), np.float32)
        units = _times(laid.fuse, fused, hidden[:, :, :-2])
        np.maximum(units, np.float32(0), out=units)
        hidden[:, :, -2] = 1
        hidden[:, :, -1] = mixed[:, -m:]
        return _times(laid.hazard, hidden, np.empty((k, m, self.shape.bins, n), np.float32))

    @property
    def _rows(self) -> int:
        """Number of rows of the array of :meth:`_lay_out`."""
        return self.shape.inputs + 2 * len(self.shape.modalities)

    @cached_property
    def _laid(self) -> _Laid:
        """Weights arranged for :meth:`_pass`."""
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
        by_member = (array.reshape(k, m, *array.shape[1:]) for array in (fuse, hazard))
        return _Laid(tuple(map(_ready, encode)), _ready(mix), *map(_ready, by_member))

    def _by_modality(self, weight: Singles, known: Singles) -> Singles:
        """Return the weights (k, rows, c) of the rows of :meth:`_lay_out`.

        Args:
            weight: (k, inputs, c) weights of the inputs.
            known: (k, modalities, c) weights of the modalities' presence.
        """
        ends = np.cumsum(self.shape.modalities)[:-1].tolist()
        missing = np.zeros((len(known), 1, known.shape[2]), np.float32)
        parts = zip(np.split(weight, ends, axis=1), known.transpose(1, 0, 2), strict=True)
        return np.concatenate([p for w, b in parts for p in (w, b[:, None], missing)], axis=1)


def fold_axis(name: str) -> int:
    """Return the dimension of a named weight that runs over folds, or over folds times members."""
    return 1 if name in ("encode_bias", "token") else 0


def _ready(weight: Singles) -> Singles:
    """Return weights (…, rows, c) as (…, 1, c, rows), to be multiplied by tiles of patients."""
    return np.ascontiguousarray(np.swapaxes(weight, -1, -2))[..., None, :, :]


def _times(weight: Singles, rows: Singles, out: Singles) -> Singles:
    """Multiply weights (…, 1, c, rows) by patients (…, rows, n), tile by tile, into ``out``."""
    np.matmul(weight, _tiles(rows), out=_tiles(out))
    return out


def _tiles(rows: Singles) -> Singles:
    """Return a view of patients (…, rows, n) as tiles (…, t, rows, TILE)."""
    return rows.reshape(*rows.shape[:-1], -1, TILE).swapaxes(-2, -3)
