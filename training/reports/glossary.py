"""Words that not everybody at a tumour board knows, in a sentence each."""

from __future__ import annotations

#: Word -> what it means, as the pages of markers and external validations explain it.
GLOSSARY = {
    "hazard ratio (HR)": (
        "how many times as fast events come in one group as in another; 1 is no difference, above "
        "1 is worse"
    ),
    "per SD": (
        "between patients one standard deviation of the marker apart: about from the middle of the "
        "cohort to the highest sixth"
    ),
    "Kaplan–Meier curve": (
        "the part of the patients without the event as time goes by, allowing for those whose "
        "follow-up ended early"
    ),
    "cut-point": "the value above which a patient is called high",
    "p value": (
        "how often chance alone would give a result this strong if there were nothing; below 0.05 "
        "is called significant"
    ),
    "corrected p value": (
        "the same when the best of many cut-points was picked: the marker was shuffled among the "
        "patients thousands of times, and each time the best cut-point was picked again"
    ),
    "adjusted": "compared between patients who are alike in the features named",
    "independent predictor": (
        "a marker that tells of the outcome what the other features do not tell already"
    ),
    "proportional hazards": (
        "the assumption behind one hazard ratio: that it is the same early and late"
    ),
    "pooled HR": (
        "the mean over centres when each may have its own true value (random effects, DerSimonian "
        "and Laird)"
    ),
    "I²": (
        "the part of the spread between centres that chance does not explain: 0 % is full agreement"
    ),
    "ratio of hazard ratios": (
        "the treatment's HR where the marker is high divided by its HR where the marker is low; "
        "above 1 the treatment does less where the marker is high"
    ),
    "power": "the chance that a study of this size finds an effect that is really there",
    "type M error": (
        "by how much a result that reaches significance overstates the truth on average: in a "
        "small study only lucky overestimates get that far (winner's curse)"
    ),
    "type S error": "how often a result that reaches significance has the wrong sign",
    "confounding by indication": (
        "the fitter patients get the treatment, and would have lived longer without it too"
    ),
    "immortal time": (
        "who died early did not live to be treated, so that the treated look as if they could not "
        "die early"
    ),
    "landmark analysis": (
        "only patients still followed some months on are compared, when it is settled who was "
        "treated"
    ),
    "Spearman's ρ": (
        "how far two features rank the patients alike: 1 is the same order, 0 none, -1 the opposite"
    ),
    "out of fold": "each patient is predicted by a model that was fitted on others",
    "Uno's C": (
        "of two patients, how often the one with the higher predicted risk has the event first: "
        "0.5 is a coin, 1 is perfect"
    ),
    "integrated Brier score": (
        "the mean squared error of the predicted survival over time: 0 is perfect, 0.25 a coin"
    ),
    "net benefit": (
        "patients rightly acted on per patient seen, less those wrongly acted on, weighed by the "
        "risk from which on one would act"
    ),
    "calibration slope": (
        "how far observed risks spread for each step in the predicted ones: 1 is right, below 1 "
        "the predictions are too extreme, above 1 patients differ more than is predicted"
    ),
    "observed over expected": (
        "events that came for each that was predicted: above 1 risks are predicted too low, below "
        "1 too high"
    ),
}


def terms(*words: str) -> tuple[tuple[str, str], ...]:
    """Return words with their meanings, as a page's section takes them."""
    return tuple((word, GLOSSARY[word]) for word in words)
