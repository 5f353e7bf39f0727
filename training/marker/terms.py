"""The words of the marker report that not everybody at a tumour board knows, in a sentence each."""

from __future__ import annotations

HAZARD_RATIO = (
    "hazard ratio (HR)",
    "how many times as fast events come in one group as in another; 1 is no difference, above 1 "
    "is worse",
)
PER_SD = (
    "per SD",
    "between patients one standard deviation of the marker apart: about from the middle of the "
    "cohort to the highest sixth",
)
KAPLAN_MEIER = (
    "Kaplan–Meier curve",
    "the part of the patients without the event as time goes by, allowing for those whose "
    "follow-up ended early",
)
CUT_POINT = ("cut-point", "the value above which a patient is called high")
P_VALUE = (
    "p value",
    "how often chance alone would give a result this strong if there were nothing; below 0.05 is "
    "called significant",
)
CORRECTED = (
    "corrected p value",
    "the same when the best of many cut-points was picked: the marker was shuffled among the "
    "patients thousands of times, and each time the best cut-point was picked again",
)
ADJUSTED = ("adjusted", "compared between patients who are alike in the features named")
INDEPENDENT = (
    "independent predictor",
    "a marker that tells of the outcome what the other features do not tell already",
)
PROPORTIONAL = (
    "proportional hazards",
    "the assumption behind one hazard ratio: that it is the same early and late",
)
RANDOM_EFFECTS = (
    "pooled HR",
    "the mean over centres when each may have its own true value (random effects, DerSimonian and "
    "Laird)",
)
I_SQUARED = (
    "I²",
    "the part of the spread between centres that chance does not explain: 0 % is full agreement",
)
INTERACTION = (
    "ratio of hazard ratios",
    "the treatment's HR where the marker is high divided by its HR where the marker is low; above "
    "1 the treatment does less where the marker is high",
)
POWER = ("power", "the chance that a study of this size finds an effect that is really there")
TYPE_M = (
    "type M error",
    "by how much a result that reaches significance overstates the truth on average: in a small "
    "study only lucky overestimates get that far (winner's curse)",
)
TYPE_S = ("type S error", "how often a result that reaches significance has the wrong sign")
INDICATION = (
    "confounding by indication",
    "the fitter patients get the treatment, and would have lived longer without it too",
)
IMMORTAL = (
    "immortal time",
    "who died early did not live to be treated, so that the treated look as if they could not die "
    "early",
)
LANDMARK = (
    "landmark analysis",
    "only patients still followed some months on are compared, when it is settled who was treated",
)
SPEARMAN = (
    "Spearman's ρ",
    "how far two features rank the patients alike: 1 is the same order, 0 none, -1 the opposite",
)
OUT_OF_FOLD = (
    "out of fold",
    "each patient is predicted by a model that was fitted on others",
)
UNO_C = (
    "Uno's C",
    "of two patients, how often the one with the higher predicted risk has the event first: 0.5 "
    "is a coin, 1 is perfect",
)
BRIER = (
    "integrated Brier score",
    "the mean squared error of the predicted survival over time: 0 is perfect, 0.25 a coin",
)
NET_BENEFIT = (
    "net benefit",
    "patients rightly acted on per patient seen, less those wrongly acted on, weighed by the risk "
    "from which on one would act",
)
