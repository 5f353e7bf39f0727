"""Train, judge and use a survival model from Python, on a synthetic cohort.

    python examples/train_in_python.py            # some minutes
    python examples/train_in_python.py --small    # seconds, and poorer figures

Runs in the working folder: it writes `example-train/` there and nothing to MLflow.
"""

# %% A cohort
# `accomplice data synth` writes a table and its study file; use your own in its place.
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import cross_val_score

import accomplice
from accomplice.data.synthetic_study import synthesise

SMALL = "--small" in sys.argv
FOLDER = Path("example-train")
PATIENTS = 160 if SMALL else 800
#: Any key of `accomplice train --settings`; none is needed.
SETTINGS = {"net.members": 4, "evaluation.explanations": False}
if SMALL:
    SETTINGS |= {"folds.folds": 2, "net.members": 2, "net.max_epochs": 2, "forest.trees": 5}
    SETTINGS |= {"boosting.max_rounds": 10, "evaluation.bootstraps": 20, "evaluation.peers": False}

study_file = synthesise(FOLDER, PATIENTS, "default", 1)
study = accomplice.read_study(study_file)
cohort = accomplice.load_cohort(study)
print(f"{study.name}: {len(cohort.time)} patients, {int(cohort.event.sum())} events")
print({modality: list(features) for modality, features in study.modalities.items()})

# %% A model, and how good it is
# The same seed gives the same model. `track=True` would log the run to MLflow.
run = accomplice.train(
    study, settings=SETTINGS, seed=1, out=FOLDER / "model", force=True, track=False
)
judged = run.bundle.metrics["models"]
table = pd.DataFrame(
    {
        name: {
            metric: f"{s['value']:.3f} ({s['low']:.3f} to {s['high']:.3f})"
            for metric, s in of.items()
        }
        for name, of in judged.items()
    }
)
print(table.T[["uno_c", "ibs"]])

# %% Predictions
# Rows are answered in their order; a value may be missing, and is flagged.
frame = pd.read_csv(FOLDER / "cohort.csv")
patients = frame.head(5).assign(IL1R1=np.nan)
answers = accomplice.predict(run.bundle, patients, times=[12, 36, 60])
columns = ["patient_id", "risk", "survival@36", "benefit@60", "advice", "flags"]
print(answers[columns].to_string())

# %% Why these risks?
# What each feature adds to the risk, in log-hazard, from that of a typical patient.
parts = run.bundle.explain(patients)
modalities = [column for column in parts.columns if column.startswith("modality.")]
print(parts[["patient_id", "risk", "base", *modalities]].round(2).to_string())

# %% The same model again, and another cohort
# The bundle is a folder: it needs neither this session nor MLflow.
model = accomplice.load(FOLDER / "model")
other = synthesise(FOLDER / "other", PATIENTS, "shifted", 2)
validation = accomplice.evaluate(model, other)
print(f"Uno's C there minus here: {validation.change_in_c.value:+.3f}")

# %% As a scikit-learn estimator
# X is a frame, y is structured: whether the event was seen, then the time in months.
X = frame.drop(columns=["patient_id", "centre", "os_months", "os_event", "ici_response"])
outcome = list(zip(frame["os_event"] == 1, frame["os_months"], strict=True))
y = np.array(outcome, dtype=[("event", bool), ("time", float)])
known = np.isfinite(y["time"]) & (y["time"] > 0)
estimator = accomplice.SurvivalEstimator(
    folds__folds=2, net__members=2, forest__trees=5 if SMALL else 50, net__max_epochs=5
)
print("C of two folds:", cross_val_score(estimator, X[known], y[known], cv=2).round(3))
