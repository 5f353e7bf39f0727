"""What ``--help`` says of each verb, with examples."""

from __future__ import annotations

INTRODUCTION = """\
Train, tune, track and serve multimodal survival models. Research use only.

A cohort is described by a study file; a fitted model is a bundle; runs are kept in mlruns/.

  accomplice data init cohort.csv --time os_months --event os_event --out study.yaml
  accomplice train study.yaml --out model
  accomplice predict model patients.csv --times 12,36,60 --out predictions.csv
  accomplice serve model
"""
TRAIN = """\
Fits four learners in each fold (a ridge Cox model, hazard networks, a survival forest, boosted
trees), stacks them, judges them out of fold against Kaplan-Meier and the study file's baselines,
writes a bundle, and logs the run with its figures and its registered model to mlruns/.

Every survival endpoint of the study file gets a model, the first (or --endpoint) being the one the
run is known by; --set further_endpoints=false leaves it at that one. Every binary endpoint gets
one too, with or without survival beside it. What has too few events or labels is named and left
out.

  accomplice train study.yaml --out model
  accomplice train study.yaml --set net.members=16 --seed 3
  accomplice train study.yaml --max-seconds 60

--max-seconds N ends the command after about N seconds, imports and logging included, with the
best model so far: trees, the network's epochs and the bootstraps behind the intervals each get a
part of the time. What was cut short is printed, and kept in the bundle and in MLflow. However small
N is there is a model. The least takes the imports, in each fold the linear model, a tenth of the
trees, a round of boosting and an epoch, then 20 bootstraps and the logging: some 15 seconds of one
processor for a few hundred patients. With trainer.devices above 1 the network's training is not
cut.
"""
TUNE = """\
Every trial is judged on the same folds; the first one is the defaults. The final model is judged
on other folds than those that chose it. The search is judged on one survival endpoint, the study's
first or --endpoint; the final model is of all. Ctrl-C loses nothing: the same command goes on.
Several workers share one study when they are given the same --storage.

  accomplice tune study.yaml --trials 50
  accomplice tune study.yaml --trials 200 --storage postgresql://host/optuna
  accomplice tune study.yaml --trials 200 --max-seconds 3600

A trial that is worse than half of the others by its validation loss is given up early: it was
judged, and counts. The search ends at --trials trials in all, or after about --max-seconds, which
include the final fit, whichever is first. No trial begins that would not end in time; one that time
or Ctrl-C stops is not counted. However little time there is, the defaults are tried in full and
there is a final model. The same command with more trials or more seconds goes on.
"""
PREDICT = """\
Writes patient_id, risk (higher is worse), survival@T for each time, and flags, one row for each
row of the table, in its order. Where the study has a treatment: benefit@H, benefit_low@H and
benefit_high@H (survival at the horizon H with it minus without, and the 80 % interval), rmst_gain@H
(months), p_benefit (chance of a gain above 3 points) and advice, or why the model abstains. After
the first survival endpoint's columns come those of the others with their names before them, such as
dfs.risk, and response.NAME for each binary endpoint. Last, for each survival endpoint: rmst@H
(restricted mean survival to H months), risk_group (third of the training patients: low, middle,
high) and risk_centile (percent of them at lower risk). A model of binary endpoints alone writes
patient_id, response.NAME and flags, and takes no --times. Missing columns and values, unknown
columns and levels, and values out of range are answered and flagged.

TABLE and FILE may be of any length: CSV and Parquet are read, answered and written some thousand
patients at a time, so that memory does not grow with them, and the numbers are those of the whole
table at once. A CSV is read twice, first to see what its columns are; a workbook and a study folder
are read whole. FILE appears when it is complete: after Ctrl-C or an error nothing is left of it.
How many patients were flagged, and with what most often, is printed at the end.

--explain writes a table of its own: patient_id, risk, base, then feature.NAME and modality.NAME.
The base is the risk of a typical patient; what each feature adds to it adds up to the patient's
risk, in log-hazard, and a modality adds what its features do. It takes some 50 ms a patient.

  accomplice predict model patients.csv --times 12,36,60 --out predictions.csv
  accomplice predict model registry.parquet --times 12,36,60 --out predictions.parquet
  accomplice predict model patients.csv --out predictions.csv --explain attributions.csv
  accomplice predict model patients.csv --response-rate ici_response=0.2
"""
EVALUATE = """\
Predicts for the patients of another cohort, which has a study file of its own, and judges what came
true: discrimination and calibration, beside the training run's. Writes one page that opens without
a network and its figures as JSON, and logs both to mlruns/ beside the model's runs.

  accomplice evaluate model other/study.yaml
  accomplice evaluate model other/study.yaml --map stage_raw=stage --map CD8A=CD8_RNA
  accomplice evaluate model other/study.yaml --recalibrate --out-model model-for-other

The model's features are looked for in STUDY by name, by column, and by what the panels know: genes
by their aliases, stage and the like by their levels, sex however it is spelt. What is not certain
is left missing and listed; --map A=B settles it. Kinds must agree; units too, where both are
stated. Expression is ranked among the cohort's own patients where 50 or more have it, as in
training.

--recalibrate updates the model for this centre: the level, and where held-out patients are better
predicted so, the slope and the course over time of its log cumulative hazard. It is checked on
patients whom the update was not fitted to, and the new bundle says what it was updated by. It takes
20 events at the least. At any one month patients keep their order.
"""
COMPARE = """\
Judges two models, or each further one against the first, on the same patients and the same
bootstrap draws: Uno's C, Harrell's C and the integrated Brier score with their paired differences
and 95 % intervals, calibration of each, what each was trained on, and which settings differ.

  accomplice compare runs:/ID models:/accomplice-NAME@champion
  accomplice compare model other_model --study study.yaml --json compared.json

A model keeps no patients, so their study file is needed again: the one that --study names, or the
one that the model's run remembers (in mlruns/ of this machine). For patients a model was trained
on, its out-of-fold predictions are made anew; for others it predicts as for new patients. Which was
which is said. Judged is to the smaller of the horizons, on the patients that both can be judged on.
"""
PROMOTE = """\
Moves the registry's alias champion to the model, if every rule of the gate holds:

  it predicts the same endpoint of the same study as the champion
  a champion of real patients is not replaced by a model of synthetic ones
  on the same patients it is not worse: neither Uno's C nor the integrated Brier score is certainly
    worse (paired 95 % interval), nor worse by more than 0.03 or 0.01
  it has learnt something: Uno's C above 0.5 and a gain over Kaplan-Meier, both for certain
  its predictions come true: calibration slope and observed/expected agree with 0.8 to 1.25 by
    their 95 % intervals, the slope itself is within 0.6 to 1.67, the ratio within 0.8 to 1.25
  no leak sentinel fired

The first three ask about the champion and are left out where there is none. Each rule is printed
with its figures.

  accomplice promote models:/accomplice-NAME/3
  accomplice promote recalibrated --study study.yaml
  accomplice promote runs:/ID --force "external validation of March; the slope is known"

A bundle that is not in the registry is registered first. Exit code 0: it is champion; 3: the gate
refuses, and nothing is changed; 2: the input is wrong. --force promotes all the same; the reason,
the time and the rules that failed are kept with the model's version, where MLflow shows them.
"""
POWER = """\
Simulates cohorts in which a treatment works less where a marker is high, analyses each by a Cox
model, and counts how often the interaction is significant: at --n, along a curve of sizes, and how
many patients it takes for 80 %. Those cohorts that show it overstate it; by how much is shown too.

  accomplice power --n 409 --events 0.45 --treated 0.6 --hr-low 0.48 --hr-high 0.76 --out power.png
  accomplice power --n 800 --interaction 1.4 --scale sd
  accomplice power study.yaml --marker IL1R1 --out power.png
  accomplice power study.yaml --marker IL1R1 --marker-known 1

With a STUDY, patients, events, treated, who has the marker recorded and how long patients were
followed are read from its cohort, but for what an option says: the last example asks what it would
bring to measure the marker in everybody. Effects are never read from a cohort: assume them.
"""
MARKER = """\
Asks of one marker what a reviewer would: is it associated with survival, does that hang on the
cut-point, is it independent of stage, clinic and stroma, is its effect the same over time, do the
centres agree, does it change what the treatment does, what else does it measure, and do predictions
gain by it. Writes one page that opens without a network, with one verdict a question, and the
numbers as JSON beside it; both are logged to mlruns/.

  accomplice marker study.yaml --marker IL1R1
  accomplice marker study.yaml --marker IL1R1 --stroma FAP,PDGFRB --out il1r1.html
  accomplice marker study.yaml --marker CD163 --adjust msi=MSI_SCORE_MANTIS --endpoint dfs

Adjusted for: each of the study file's baselines, the stroma, the features that its interactions
name, what --adjust adds, and all of these together. Patients without the marker are left out and
counted.
"""
REPORT = """\
Writes the whole evaluation of a model as one page that opens without a network: does it rank
patients, does it beat simple models, do its probabilities come true, what would it do to decisions,
does it hold in subgroups, what drives it, could it be a leak; figures, and their numbers as tables.
All comes from the model itself: no patient is needed. The numbers go to a .json beside it.

  accomplice report model
  accomplice report models:/accomplice-NAME@champion --out report.html --card card.md

--card writes a model card drafted by TRIPOD+AI items; what only a person can know is marked so.
"""
PACKAGE = """\
Packs the model with the code that serves it and the page, and nothing of training, as a bento. No
network is needed. Below mlruns/bentoml are then

  bentos/NAME/VERSION        the bento; accomplice serve takes the folder
  archives/NAME-VERSION.bento   the same in one file, for another machine
  containers/NAME-VERSION    a Dockerfile with all that it copies, for docker or podman

  accomplice package models:/accomplice-NAME@champion
  accomplice serve mlruns/bentoml/bentos/NAME/VERSION --port 3001

VERSION is made of the model's digest and of what the rest was packed from: the same model, code and
requirements give the same one, and others live beside it. Two versions serve at once on two ports.

Elsewhere: tar -xf the archive into an empty folder and accomplice serve that, or, where accomplice
is not installed, pip install -r env/python/requirements.txt and bentoml serve FOLDER --host
127.0.0.1. The image is built by whoever has a container engine; the commands are printed. It
answers other machines, and therefore starts only with a token file (accomplice token) mounted.
podman takes the same commands; with --format docker its build keeps the check of health.

  BENTOML_HOME=mlruns/bentoml bentoml list
  BENTOML_HOME=mlruns/bentoml bentoml delete NAME:VERSION
"""
SERVE = """\
Answers a page for a person at /, and POST /predict, /predict_batch, /explain and /what_if for
programs; /docs describes them, GET /model says which model answers, GET /metrics is for Prometheus.

  accomplice serve model --port 3000
  accomplice serve models:/accomplice-NAME@champion --reload-champion
  curl -s http://127.0.0.1:3000/predict -H 'Content-Type: application/json' \\
       -d '{"patient": {"age": 61}, "times": [12, 36]}'

--reload-champion looks at the registry every --every seconds. Where the alias names another version
its bundle is copied here, checked, loaded beside the one that answers and tried on its golden rows;
then it answers, and no request fails meanwhile. An answer is always of one version, which it names.
A version that cannot be fetched, was changed, or answers its golden rows differently is refused in
one line of the log, counted (accomplice_reloads_total), and the one before goes on. So it does
while the registry is away. To go back, promote the version before again.
"""
TOKEN = """\
Prints a new token once, and adds its hash to a file that serve --tokens reads; a line taken out of
the file, and a restart, and the token opens nothing any more.

  accomplice token tumour-board --tokens tokens
  accomplice serve model --host 10.0.0.5 --tokens tokens
  curl -s http://10.0.0.5:3000/predict -H "Authorization: Bearer $TOKEN" …
"""
UI = """\
Serves MLflow on what mlruns/ (or MLFLOW_TRACKING_URI) holds, and prints the links that matter: of
each experiment its models beside each other, the last study and its trials in parallel coordinates,
and the champion. With --optuna Optuna's dashboard is served in its place, where it is installed:
pip install 'accomplice[dashboard]'

  accomplice ui
  accomplice ui --optuna --port 8080
  accomplice ui --optuna --storage postgresql://host/optuna
"""
DEMO = """\
Makes a synthetic cohort, tunes, trains, judges, registers and packages a model, and asks the
packaged service for one patient; prints where to look. Takes minutes on two cores.
"""
INIT = """\
Kinds of columns are inferred, known markers are sorted into modalities, and what is doubtful is
listed under ignored, with the reason. Look the file over before training.

  accomplice data init cohort.csv --time os_months --event os_event --out study.yaml
  accomplice data init study_folder --out study.yaml
  accomplice data init cohort.csv --response recist --out study.yaml

The last has no follow-up: a study of a response alone.
"""
CHECK = "Counts patients, events, missing values; warns of what will make a model weak.\n"
SYNTH = """\
A cohort drawn from a structural model with known truth. Its patients are synthetic.

  accomplice data synth --out demo --n 800
"""
