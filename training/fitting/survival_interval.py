"""Fit the interval of a patient's survival; see ``models.survival_interval``."""

from __future__ import annotations

import numpy as np

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.training.config import Config
from accomplice.training.estimators.hazard_posterior import fit_posterior
from accomplice.training.fitting.prepare import Prepared
from accomplice.training.models.survival_interval import FARTHEST, SurvivalInterval, Terms

#: Maximum number of patients that the posterior is fitted to; of more, it is fitted to a sample.
MOST_PATIENTS = 4000
#: Maximum number of linear terms of a block; a wider one is reduced to its leading principal
#: components.
MOST_COLUMNS = 40
#: Number of cosines drawn, and maximum number of curved terms made of them.
COSINES, CURVED = 300, 100
#: Maximum number of rows or columns, the fewer of the two, of an exact decomposition.
MOST_EXACT = 1000
#: Power iterations of the approximate decomposition of a larger matrix.
POWERS = 7
#: Singular value, relative to the largest, up to which one is 0 but for rounding.
NULL = 1e-6
#: Width of the kernel, as a fraction of the root mean square distance of patients from their mean,
#: over linear terms of standard deviation 1.
WIDTH = 0.6
#: Minimum standard deviation of a column that varies.
VARIES = 1e-9
#: Scale of the prior of the log-hazard's standard deviation by linear terms, and by curved ones.
LINEAR_SCALE, CURVED_SCALE = 0.3, 0.2
#: Ridge, for each patient, of the regression by which the cosines' linear part is removed.
RIDGE = 1e-3
#: Mean square of a curved term, relative to 1 for each cosine, up to which it is a residue of the
#: ridge.
RESIDUE = 2e-6


def fit_survival_interval(prepared: Prepared, config: Config) -> SurvivalInterval:
    """Fit the posterior to all patients, with the design of the first fold.

    Args:
        prepared: the patients, without their treatment, and the folds.
        config: run configuration; its seed is used.
    """
    rng = np.random.default_rng([config.seed, 1])
    time, event = prepared.cohort.outcome
    rows, weight, loss = draw_patients(event, rng)
    preprocessor = prepared.models[0].preprocessor
    design = prepared.inputs(0, rows).linear
    first = next(iter(prepared.cohort.study.blocks))
    markers = np.array([c.modality != first for c in preprocessor.linear_columns()])
    terms, blocks, scales = make_terms(design, markers, rng)
    Z, grid = terms.of(design), prepared.grid
    found = fit_posterior(Z, blocks, scales, grid, time[rows], event[rows], weight)
    bins, covariance = grid.bins, loss * found.covariance
    # Fractions of the mean patient's cumulative hazard in each bin, up to the end of each bin.
    part = np.tril(np.tile(np.exp(found.level), (bins, 1)))
    part /= part.sum(axis=1, keepdims=True)
    level, cross = covariance[:bins, :bins], covariance[bins:, :bins]
    values, vectors = np.linalg.eigh(covariance[bins:, bins:])
    return SurvivalInterval(
        terms=terms,
        coefficients=found.coefficients,
        centre=found.centre,
        root=np.ascontiguousarray(vectors * np.sqrt(np.maximum(values, 0.0))),
        level=found.level,
        level_variance=np.einsum("tj,jk,tk->t", part, level, part),
        joint=np.ascontiguousarray(cross @ part.T),
        course=found.course,
        course_variance=loss * found.course_variance,
        log_time=found.log_time,
        mean_log_time=part @ found.log_time,
    )


def draw_patients(event: Bools, rng: np.random.Generator) -> tuple[Ints, Array, float]:
    """Draw patients for the posterior; most of the information is in those with the event.

    Up to half of those drawn have the event. Patients without it are weighted, so that they
    represent the patients without it of a cohort with as many events as are drawn.

    Args:
        event: (n,) whether the event was observed.
        rng: generator of the draw.

    Returns:
        Rows (m,) of the patients; the weight (m,) of their time at risk; and the factor by which
        variances grow with m₁ patients with the event and a sample of m₀ without it: 1 if all are
        drawn, else 1 + m₁/m₀ (as with m₀/m₁ controls per case; Ury, "Efficiency of case-control
        studies with multiple controls per case", Biometrics 1975).
    """
    n = len(event)
    if n <= MOST_PATIENTS:
        return np.arange(n), np.ones(n), 1.0
    with_it, without = np.flatnonzero(event), np.flatnonzero(~event)
    cases = min(len(with_it), max(MOST_PATIENTS // 2, MOST_PATIENTS - len(without)))
    others = min(len(without), MOST_PATIENTS - cases)
    chosen = (rng.choice(with_it, cases, replace=False), rng.choice(without, others, replace=False))
    rows = np.sort(np.concatenate(chosen))
    share = cases / max(len(with_it), 1)
    weight = np.where(event[rows], 1.0, share * len(without) / max(others, 1))
    return rows, weight, 1 + cases / max(others, 1) if others < share * len(without) else 1.0


def make_terms(
    design: Array, markers: Bools, rng: np.random.Generator
) -> tuple[Terms, Ints, Array]:
    """Make linear and curved terms of a design (n, p).

    Args:
        design: linear design of the training patients.
        markers: (p,) whether a column is of a modality beyond the study's first.
        rng: generator of the cosines.

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
            axes = leading_axes(scaled[:, columns], MOST_COLUMNS)
            part = part[:, : len(axes)]
            part[columns] = axes.T
        else:
            part[columns, np.arange(len(columns))] = 1.0
        # The prior is for terms of mean square 1.
        part /= np.sqrt(max(float(((scaled @ part) ** 2).mean()), VARIES))
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
    penalty = RIDGE * n * np.diag(np.append(0.0, np.ones(width)))
    straight = np.linalg.solve(lines.T @ lines + penalty, lines.T @ cosines)
    curved = cosines - lines @ straight
    _, length, axes = np.linalg.svd(curved, full_matrices=False)
    # Only a residue of the ridge is left of cosines that are nearly linear.
    kept = min(CURVED, int((length**2 > RESIDUE * n * COSINES).sum()))
    unit = np.sqrt(kept * n / max(float((length[:kept] ** 2).sum()), VARIES))
    axes = np.ascontiguousarray(axes[:kept].T * unit)
    widths = [part.shape[1] for part in parts]
    if kept:
        widths.append(kept)
        scales.append(CURVED_SCALE)
    blocks = np.repeat(np.arange(len(widths)), widths)
    terms = Terms(mean, inverse, projection, frequencies, phases, axes, straight @ axes)
    return terms, blocks, np.array(scales)


def leading_axes(X: Array, most: int) -> Array:
    """Return the first right singular vectors (k, p) of X (n, p), k = ``most`` or fewer.

    Vectors of singular values that are 0 but for rounding are left out, since any others would do.
    """
    if min(X.shape) > MOST_EXACT:
        # A full decomposition takes minutes. It is no approximation by Lanczos vectors, whose
        # restarts are random in some releases of scipy whatever the seed.
        from sklearn.utils.extmath import randomized_svd

        _, length, axes = randomized_svd(X, most, n_iter=POWERS, random_state=0)
    elif min(X.shape) <= most:
        _, length, axes = np.linalg.svd(X, full_matrices=False)
    else:
        wide = X.shape[1] > len(X)
        squares, vectors = np.linalg.eigh(X @ X.T if wide else X.T @ X)
        length = np.sqrt(np.maximum(squares[: -most - 1 : -1], 0.0))
        axes = vectors[:, : -most - 1 : -1].T
        if wide:
            axes = axes @ X / np.maximum(length, VARIES)[:, None]
    return np.ascontiguousarray(axes[length > NULL * length[0]])
