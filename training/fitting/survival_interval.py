"""Fit the interval of a patient's survival; see ``models.survival_interval``."""

from __future__ import annotations

import numpy as np

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.training.config import Config
from accomplice.training.estimators.hazard_posterior import fit_posterior
from accomplice.training.fitting.prepare import Prepared
from accomplice.training.models.survival_interval import FARTHEST, SurvivalInterval, Terms

#: Maximum of patients that the posterior is fitted to; of more, a random sample stands for all.
MOST_PATIENTS = 4000
#: Maximum of linear terms of a block; a wider one has its leading principal components.
MOST_COLUMNS = 40
#: Number of cosines drawn, and maximum of curved terms kept of them.
COSINES, CURVED = 300, 100
#: Width of the kernel, as a part of the root mean square distance of patients from their mean, over
#: linear terms of standard deviation 1.
WIDTH = 0.6
#: Least standard deviation of a column that varies.
VARIES = 1e-9
#: Scale of the prior of the log-hazard's standard deviation by linear terms, and by curved ones.
LINEAR_SCALE, CURVED_SCALE = 0.3, 0.2
#: Ridge, for each patient, of the regression that takes the linear part off the cosines.
RIDGE = 1e-3


def fit_survival_interval(prepared: Prepared, config: Config) -> SurvivalInterval:
    """Fit the posterior to the patients as the first fold's design shows them.

    Args:
        prepared: the patients, without their treatment, and the folds.
        config: run configuration; its seed is used.
    """
    n, rng = len(prepared.cohort), np.random.default_rng([config.seed, 1])
    rows: Ints = np.arange(n)
    if n > MOST_PATIENTS:
        rows = np.sort(rng.choice(n, MOST_PATIENTS, replace=False))
    time, event = prepared.cohort.outcome
    preprocessor = prepared.models[0].preprocessor
    design = prepared.inputs(0, rows).linear
    first = next(iter(prepared.cohort.study.blocks))
    markers = np.array([c.modality != first for c in preprocessor.linear_columns()])
    terms, blocks, scales = make_terms(design, markers, rng)
    Z, grid = terms.of(design), prepared.grid
    found = fit_posterior(Z, blocks, scales, grid, time[rows], event[rows], n / len(rows))
    bins = grid.bins
    # Parts of the bins in the mean patient's cumulative hazard up to the end of each.
    part = np.tril(np.tile(np.exp(found.level), (bins, 1)))
    part /= part.sum(axis=1, keepdims=True)
    level, cross = found.covariance[:bins, :bins], found.covariance[bins:, :bins]
    values, vectors = np.linalg.eigh(found.covariance[bins:, bins:])
    return SurvivalInterval(
        terms=terms,
        coefficients=found.coefficients,
        centre=found.centre,
        root=np.ascontiguousarray(vectors * np.sqrt(np.maximum(values, 0.0))),
        level=found.level,
        level_variance=np.einsum("tj,jk,tk->t", part, level, part),
        joint=np.ascontiguousarray(cross @ part.T),
        course=found.course,
        course_variance=found.course_variance,
        log_time=found.log_time,
        mean_log_time=part @ found.log_time,
    )


def make_terms(
    design: Array, markers: Bools, rng: np.random.Generator
) -> tuple[Terms, Ints, Array]:
    """Make linear and curved terms of a design (n, p).

    Args:
        design: linear design of the training patients.
        markers: (p,) whether a column is of a modality beyond the study's first.
        rng: draws the cosines.

    Returns:
        The terms, the number (q,) of each term's block, and the scale (blocks,) of each block's
        prior.
    """
    mean, spread = design.mean(axis=0), design.std(axis=0)
    varied = spread > VARIES
    inverse = np.where(varied, 1 / np.where(varied, spread, 1.0), 0.0)
    scaled = np.clip((design - mean) * inverse, -FARTHEST, FARTHEST)
    parts, scales = [], []
    for block in (varied & ~markers, varied & markers):
        columns = np.flatnonzero(block)
        if not len(columns):
            continue
        part = np.zeros((design.shape[1], min(len(columns), MOST_COLUMNS)))
        if len(columns) > MOST_COLUMNS:
            _, _, axes = np.linalg.svd(scaled[:, columns], full_matrices=False)
            part = part[:, : len(axes)]
            part[columns] = axes[:MOST_COLUMNS].T
        else:
            part[columns, np.arange(len(columns))] = 1.0
        parts.append(part)
        scales.append(LINEAR_SCALE)
    projection = np.concatenate(parts, axis=1) if parts else np.zeros((design.shape[1], 0))
    linear = scaled @ projection
    n, width = linear.shape
    size = np.maximum(linear.std(axis=0), VARIES)
    reach = WIDTH * size[:, None] * np.sqrt(max(width, 1))
    frequencies = rng.standard_normal((width, COSINES)) / reach
    phases = rng.uniform(0.0, 2 * np.pi, COSINES)
    cosines = np.cos(linear @ frequencies + phases)
    lines = np.column_stack([np.ones(n), linear])
    penalty = RIDGE * n * np.eye(width + 1)
    straight = np.linalg.solve(lines.T @ lines + penalty, lines.T @ cosines)
    curved = cosines - lines @ straight
    _, length, axes = np.linalg.svd(curved, full_matrices=False)
    kept = min(CURVED, len(length))
    # So that all curved terms together have the mean square 1 a term.
    unit = np.sqrt(kept * n / max(float((length**2).sum()), VARIES))
    axes = np.ascontiguousarray(axes[:kept].T * unit)
    blocks = np.repeat(np.arange(len(parts) + 1), [p.shape[1] for p in parts] + [kept])
    terms = Terms(mean, inverse, projection, frequencies, phases, axes, straight @ axes)
    return terms, blocks, np.array([*scales, CURVED_SCALE])
