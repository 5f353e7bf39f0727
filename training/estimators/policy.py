"""Policy: thresholds for training, evaluation and verdicts, each with its reason.

They are conventions, not estimates: to change one changes answers, verdicts and pages. Sizes that
only bound work (chunks, draws, samples) or shape a drawing stay with the code that they bound, and
so do the thresholds of `leakage.single_feature`, which were set together on public cohorts.
"""

from __future__ import annotations

# Fewest patients, events and labels.

#: Events without which nothing is trained: a fold must hold some to be judged.
EVENTS_TO_TRAIN = 10
#: Events without which no cohort, group, month, centre or pair of models is judged: below, a 95 %
#: interval of a C is some 0.4 wide.
EVENTS_TO_JUDGE = 10
#: Events without which no model is updated: below, the priors alone would decide.
EVENTS_TO_UPDATE = 20
#: Expected events without which no power is simulated: they would fit no model of four terms.
EVENTS_TO_SIMULATE = 20
#: Patients and events of each arm without which no treatment effect by patient is estimated.
ARM_PATIENTS, ARM_EVENTS = 20, 8
#: Events of each arm without which a marker's interaction with the treatment is not judged.
MARKER_ARM_EVENTS = 5
#: Patients of each label without which a binary endpoint gets no model.
LABELS_TO_TRAIN = 5
#: Patients with both values without which a correlation is not reported: its interval covers
#: more than half of the range.
PAIRS_TO_CORRELATE = 10
#: Patients on a side of a threshold without which its predictive value is not drawn.
CALLS_TO_DRAW = 10
#: Patients behind a mean or a value that is shown, so that none is one patient's.
PATIENTS_TO_SHOW = 5
#: Events of a group of the calibration plot, whose Kaplan-Meier interval is then worth drawing.
EVENTS_A_POINT = 15
#: Completed trials without which no importance of settings is shown: it would be chance.
TRIALS_TO_RANK = 12

# Levels, chances and sizes of an effect.

#: p value below which a result is called significant.
SIGNIFICANT = 0.05
#: Chance below which fewer early events among the treated are taken for immortal time.
SURPRISE = 0.05
#: Power that a study should have for its question, by convention.
ENOUGH_POWER = 0.8
#: Part of the cut-points that must be significant for an association not to depend on the cut.
CUTS_SIGNIFICANT = 0.8
#: Rank correlations from which a feature is said to measure the same, or in part the same.
CLOSE, RELATED = 0.6, 0.4
#: Slopes, and ratios of observed to predicted risk, that count as calibrated.
SOUND = (0.8, 1.25)
#: Part of the patients outside the training range, or of unknown levels, that is pointed out.
MANY_OUTSIDE = 0.1

# Treatment.

#: Gain of survival, as a part of 1, that is worth a treatment's burden.
WORTH = 0.03
#: Chance of a worthwhile gain from which a treatment is favoured, and below which no clear benefit
#: is seen.
LIKELY, UNLIKELY = 0.8, 0.2
#: Propensities between which both arms have patients like this one.
RARE, COMMON = 0.1, 0.9

# Leaks.

#: C above which a model of anything is suspected, where the study file gives no ceiling.
CEILING = 0.95
#: Distance below the ceiling that the interval may reach: the best sound models come that near.
CEILING_SLACK = 0.05
#: C of a single feature from which it is taken for a leak; the best sound one met was 0.78, age in
#: a general population.
TOO_GOOD = 0.85
#: Part of the patients in duplicate pairs up to which a run's bias is negligible.
FEW_DUPLICATES = 0.01
