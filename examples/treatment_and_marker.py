"""Ask what a treatment changes, and whether a marker changes that, on synthetic patients.

    python examples/treatment_and_marker.py            # some minutes
    python examples/treatment_and_marker.py --small    # seconds, and poorer figures

In the cohort's variant `strong` chemotherapy works less where IL1R1 is high. The truth is known, so
that the model's answers can be compared with it. Writes `example-treatment/` in the working folder,
and the marker's run to `mlruns/`.
"""

# %% A cohort with known truth
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

import accomplice
from accomplice.data.synthetic_study import synthesise

SMALL = "--small" in sys.argv
FOLDER = Path("example-treatment")
PATIENTS = 200 if SMALL else 1500
SETTINGS = {"evaluation.explanations": False, "evaluation.peers": False}
if SMALL:
    SETTINGS |= {"folds.folds": 2, "net.members": 2, "net.max_epochs": 2, "forest.trees": 5}
    SETTINGS |= {"boosting.max_rounds": 10, "evaluation.bootstraps": 20}

study_file = synthesise(FOLDER, PATIENTS, "strong", 3, truth=True)
study = accomplice.read_study(study_file)
print(f"treatment: {study.treatment.label}; may change it: {', '.join(study.modifiers)}")

# %% The treatment's effect
run = accomplice.train(study, settings=SETTINGS, out=FOLDER / "model", force=True, track=False)
evidence = run.bundle.metrics["treatment"]
for name, hr in evidence["hr"].items():
    print(f"hazard ratio, {name}: {hr['value']:.2f} ({hr['low']:.2f} to {hr['high']:.2f})")
print("arms:", evidence["arms"])
print("alarm:", evidence["alarm"])

# %% What each patient would gain
# Only those for whom the treatment is an option get advice.
frame = pd.read_csv(FOLDER / "cohort.csv")
truth = pd.read_csv(FOLDER / "truth.csv")
answers = accomplice.predict(run.bundle, frame)
print(answers["advice"].str.split(":").str[0].value_counts())
option = frame["stage"].isin(["II", "III"]).to_numpy()
error = (answers["benefit@60"] - truth["benefit60"])[option]
print(f"error of the individual gains: {100 * np.sqrt((error**2).mean()):.1f} points")

# %% Does the marker change it?
# The same patients, once with a low and once with a high value, and the treatment to be decided.
for words, quantile in (("low", 0.1), ("high", 0.9)):
    value = frame["IL1R1"].quantile(quantile)
    asked = frame[option].assign(IL1R1=value, act=None)
    gain = accomplice.predict(run.bundle, asked)["benefit@60"].mean()
    print(f"mean gain where IL1R1 is {words}: {100 * gain:.1f} points")

# %% The marker's page, and the size of a study
# Reports are made by the command line.
command = [sys.executable, "-m", "accomplice"]
few = ["--set", "evaluation.bootstraps=20"] if SMALL else []
page = ["--marker", "IL1R1", "--out", str(FOLDER / "il1r1.html")]
subprocess.run([*command, "marker", str(study_file), *page, *few], check=True)
draws = ["--draws", "50", "--sizes", "200,400"] if SMALL else []
subprocess.run([*command, "power", "--n", "400", "--interaction", "1.5", *draws], check=True)
