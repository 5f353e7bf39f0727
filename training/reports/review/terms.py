"""The words of a review's page, each explained where it appears first."""

from __future__ import annotations

#: Section -> word and what it means.
TERMS: dict[str, tuple[tuple[str, str], ...]] = {
    "ranking": (
        (
            "out of fold",
            "every patient is judged by models that were fitted without that patient",
        ),
        (
            "Uno's C",
            "of two patients, how often the one whose event comes first was given the higher "
            "risk, corrected for those who were lost from view; 0.5 is chance",
        ),
        (
            "AUC at a time",
            "the same, between those who had the event by then and those who had not",
        ),
        (
            "95 % interval",
            "how far a figure would move if other patients of the same kind had been judged",
        ),
    ),
    "value": (
        (
            "simple model",
            "what could be had without this one: one curve for everybody (Kaplan-Meier), and Cox "
            "models of a few clinical features",
        ),
        (
            "Brier score",
            "mean squared distance of the predicted survival from what happened: 0 is perfect; "
            "integrated, it is the mean over the follow-up",
        ),
        (
            "paired",
            "both models are scored on the same draws of patients, so that what is common to both "
            "cancels out",
        ),
    ),
    "calibration": (
        (
            "calibration slope",
            "1 where predictions come true; below 1 they are too extreme, above 1 too alike",
        ),
        (
            "observed/expected",
            "how often the event came over how often it was predicted; above 1 risks are too low",
        ),
        (
            "D-calibration",
            "a test of all predicted curves at once; a small p says that they do not come true",
        ),
    ),
    "decisions": (
        (
            "net benefit",
            "share of patients rightly acted on, less those wrongly acted on, weighted by how much "
            "worse one holds a miss than a needless act; that is what the threshold says",
        ),
    ),
    "modalities": (
        ("modality", "a group of features that come together, such as one kind of measurement"),
        (
            "withheld",
            "the fitted model is told nothing of the modality, as for a patient who misses it",
        ),
    ),
    "instability": (
        (
            "80 % interval over fits",
            "where eight in ten of the models of other folds and members put the same patient",
        ),
    ),
    "drivers": (
        (
            "attribution",
            "the part that a feature has in a patient's prediction; all parts together make it up",
        ),
        (
            "partial effect",
            "the mean prediction over all patients, had they all the same value of one feature",
        ),
        (
            "log-hazard",
            "the scale on which features add up: 0.1 more means that events come about 10 % faster",
        ),
    ),
    "leaks": (
        (
            "leak",
            "something that predicts well here and would not be known when it matters, such as a "
            "feature recorded after the outcome",
        ),
        ("sentinel", "a test that a leak would trip"),
    ),
}
