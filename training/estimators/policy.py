"""Policy: thresholds for training, evaluation and verdicts, with their reasons.

They are conventions, not estimates; a change of one changes predictions, verdicts or pages. Other
constants stay with their code: sizes that only limit work or shape a drawing, and thresholds of one
method, such as those of `leakage.single_feature`, which were set together on public cohorts.
"""

from __future__ import annotations

# Minimum numbers of patients, events, labels and trials.

#: Events to train a survival model: each fold must hold some to be judged.
EVENTS_TO_TRAIN = 10
#: Events to judge a cohort, group, month, centre or pair of models: with fewer, the 95 % interval
#: of a C is wider than some 0.4.
EVENTS_TO_JUDGE = 10
#: Events to update a model: with fewer, the priors alone would decide.
EVENTS_TO_UPDATE = 20
#: Expected events to simulate power: fewer would not fit a model of four terms.
EVENTS_TO_SIMULATE = 20
#: Patients in each arm to estimate the treatment's effect by patient.
ARM_PATIENTS = 20
#: Events in each arm to estimate the treatment's effect by patient.
ARM_EVENTS = 8
#: Events in each arm to judge a marker's interaction with the treatment, and the treatment's effect
#: beside it.
MARKER_ARM_EVENTS = 5
#: Patients with each label to train a model of a binary endpoint.
LABELS_TO_TRAIN = 5
#: Patients with both values to report a correlation: with fewer, its 95 % interval covers more than
#: half of the range.
PAIRS_TO_CORRELATE = 10
#: Patients on a side of a threshold to draw that side's predictive value.
CALLS_TO_DRAW = 10
#: Patients behind a mean prediction that is shown, so that it is no single patient's.
PATIENTS_TO_SHOW = 5
#: Target number of events in a group of the calibration plot, so that its Kaplan-Meier interval is
#: not too wide to be useful.
EVENTS_A_POINT = 15
#: Completed trials to show the importance of settings: with fewer, it would be chance.
TRIALS_TO_RANK = 12

# Levels, chances and sizes of an effect.

#: p value below which a result is called significant.
SIGNIFICANT = 0.05
#: p value below which fewer early events among the treated are taken for immortal time.
SURPRISE = 0.05
#: Power that a study should have for its question, by convention.
ENOUGH_POWER = 0.8
#: Fraction of the cut-points that must be significant for an association to hold at any of them.
CUTS_SIGNIFICANT = 0.8
#: Minimum |rank correlation| of a feature that measures the same as the marker.
CLOSE = 0.6
#: Minimum |rank correlation| of a feature that measures in part the same as the marker.
RELATED = 0.4
#: Range of calibration slope, and of observed over expected events, that counts as calibrated.
SOUND = (0.8, 1.25)
#: Fraction of the patients with values outside the training range, or with unknown levels, above
#: which a feature is pointed out.
MANY_OUTSIDE = 0.1

# Treatment.

#: Gain of survival probability above which a treatment's benefit is worthwhile.
WORTH = 0.03
#: Minimum probability of a worthwhile gain at which a treatment is favoured.
LIKELY = 0.8
#: Probability of a worthwhile gain below which no clear benefit is seen.
UNLIKELY = 0.2
#: Maximum |standardised mean difference| of balanced arms after weighting, by convention.
BALANCED = 0.1
#: Propensity below which a patient has too few similar treated patients.
RARE = 0.1
#: Propensity above which a patient has too few similar untreated patients.
COMMON = 0.9

# Leaks.

#: C above which any model is suspected of a leak, where the study file gives no ceiling.
CEILING = 0.95
#: Maximum distance of the lower end of C's interval below the ceiling at which a C above the
#: ceiling fires the sentinel.
CEILING_SLACK = 0.05
#: Minimum C of a single feature that is taken for a leak; a lower ceiling in the study file takes
#: its place. The highest C observed of a sound feature was 0.78, that of age in a general
#: population.
TOO_GOOD = 0.85
#: Maximum fraction of the patients in duplicate pairs across folds at which the bias of a run is
#: negligible.
FEW_DUPLICATES = 0.01
