"""What columns are drawn from: names, levels in their spellings, and distributions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

Rng = np.random.Generator

#: Concept -> names, decimals, unit and draw of a number.
NUMBERS: dict[str, tuple[Sequence[str], int, str, Callable[[Rng, int], np.ndarray]]] = {
    "age": (
        ("age", "age years", "age at diagnosis", "patient age"),
        0,
        "years",
        lambda r, n: r.integers(31, 88, n),
    ),
    "bmi": (("bmi", "body mass index"), 1, "kg/m2", lambda r, n: r.normal(24, 4, n).clip(15, 45)),
    "size": (("tumor size", "size cm"), 1, "cm", lambda r, n: r.gamma(4, 1.2, n).clip(0.4, 18)),
    "cea": (("cea", "cea level"), 2, "ng/ml", lambda r, n: r.lognormal(1.2, 1.1, n).clip(0.2, 900)),
    "ca19": (
        ("ca19 9", "ca 19 9"),
        1,
        "u/ml",
        lambda r, n: r.lognormal(2.8, 1.3, n).clip(0.6, 7e3),
    ),
    "albumin": (
        ("albumin", "serum albumin"),
        1,
        "g/l",
        lambda r, n: r.normal(40, 5, n).clip(20, 55),
    ),
    "hb": (("hemoglobin", "hb"), 1, "g/dl", lambda r, n: r.normal(12, 2, n).clip(6, 18)),
    "platelets": (
        ("platelets",),
        0,
        "/ul",
        lambda r, n: r.integers(90, 560, n) * 1000 + r.integers(0, 999, n),
    ),
    "ldh": (("ldh",), 0, "u/l", lambda r, n: r.integers(110, 640, n)),
    "nodes": (
        ("positive nodes", "lymph nodes positive"),
        0,
        "",
        lambda r, n: r.poisson(4, n).clip(0, 30),
    ),
    "examined": (("nodes examined",), 0, "", lambda r, n: r.integers(8, 62, n)),
    "neutrophils": (("neutrophils",), 2, "g/l", lambda r, n: r.lognormal(1.3, 0.4, n)),
    "ecog": (("ecog", "performance status"), 0, "", lambda r, n: r.integers(0, 4, n)),
    "tmb": (("tmb",), 2, "", lambda r, n: r.lognormal(1.4, 0.8, n)),
    "nlr": (("nlr", "neutrophil lymphocyte ratio"), 2, "", lambda r, n: r.lognormal(1, 0.5, n)),
}
GENES = (
    "IL1R1",
    "IL1B",
    "CD68",
    "CD163",
    "MRC1",
    "CD8A",
    "PDCD1",
    "FAP",
    "PDGFRB",
    "ERBB2",
    "CDH1",
)
#: Concept -> names, levels lowest first, and ways to spell them.
ORDINALS: dict[str, tuple[Sequence[str], tuple[str, ...], Sequence[tuple[str, ...]]]] = {
    "stage": (
        ("stage", "tnm stage", "ajcc stage", "pathologic stage"),
        ("I", "II", "III", "IV"),
        (
            ("I", "II", "III", "IV"),
            ("Stage I", "Stage II", "Stage III", "Stage IV"),
            ("1", "2", "3", "4"),
            ("IA|IB|I", "IIA|IIB", "IIIA|IIIB|IIIC", "IV"),
            ("Ⅰ", "Ⅱ", "Ⅲ", "Ⅳ"),
        ),
    ),
    "t": (
        ("t stage", "pT", "t category", "pathologic t"),
        ("T1", "T2", "T3", "T4"),
        (
            ("T1", "T2", "T3", "T4"),
            ("pT1", "pT2", "pT3", "pT4"),
            ("1", "2", "3", "4"),
            ("T1a|T1b|T1", "T2", "T3", "T4a|T4b"),
        ),
    ),
    "n": (
        ("n stage", "pN", "n category"),
        ("N0", "N1", "N2", "N3"),
        (("N0", "N1", "N2", "N3"), ("pN0", "pN1", "pN2", "pN3"), ("0", "1", "2", "3a|3b")),
    ),
    "grade": (
        ("grade", "tumor grade", "differentiation"),
        ("G1", "G2", "G3"),
        (("G1", "G2", "G3"), ("1", "2", "3"), ("well", "moderate", "poor")),
    ),
    "budding": (
        ("tumor budding",),
        ("low", "mid", "high"),
        (("low", "intermediate", "high"), ("Low", "Medium", "High")),
    ),
    "ascites": (
        ("ascites",),
        ("a", "b", "c"),
        (("absent", "mild", "severe"), ("no", "slight", "marked")),
    ),
    "her2": (("her2 ihc", "her2 score"), ("0", "1", "2", "3"), (("0", "1+", "2+", "3+"),)),
}
#: Concept -> names, and ways to spell the levels.
CATEGORIES: dict[str, tuple[Sequence[str], Sequence[tuple[str, ...]]]] = {
    "sex": (
        ("sex", "gender"),
        (("Female", "Male"), ("F", "M"), ("female", "male"), ("f", "m"), ("w", "m")),
    ),
    "lauren": (
        ("lauren", "lauren class"),
        (("intestinal", "diffuse", "mixed"), ("Intestinal type", "Diffuse type", "Mixed type")),
    ),
    "location": (
        ("location", "tumor site"),
        (("antrum", "body", "cardia"), ("Antrum", "Corpus", "Cardia")),
    ),
    "msi": (("msi", "msi status"), (("MSS", "MSI-H"), ("stable", "unstable"), ("pMMR", "dMMR"))),
    "ebv": (("ebv", "ebv status"), (("negative", "positive"), ("neg", "pos"), ("no", "yes"))),
    "pylori": (("h pylori",), (("negative", "positive"), ("no", "yes"), ("0", "1"))),
    "smoking": (
        ("smoking", "smoking history"),
        (("never", "former", "current"), ("Never smoker", "Ex-smoker", "Smoker")),
    ),
    "race": (
        ("race",),
        (("Asian", "White", "Black"), ("ASIAN", "WHITE", "BLACK OR AFRICAN AMERICAN")),
    ),
    "blood": (("blood group",), (("A", "B", "AB", "0"), ("A", "B", "AB", "O"))),
    "approach": (
        ("approach",),
        (("open", "laparoscopic", "robotic"), ("Open", "Lap.", "Robot-assisted")),
    ),
    "country": (
        ("country",),
        (("Korea", "Japan", "Netherlands", "Österreich"), ("KR", "JP", "NL", "AT")),
    ),
    "ulcer": (("ulceration",), (("yes", "no"), ("TRUE", "FALSE"), ("0", "1"))),
    "borrmann": (("growth pattern",), (("expanding", "infiltrative", "mixed"), ("Ia", "Ib", "Ic"))),
}
#: Names of the time by its unit; and those that tell none.
TIMES = {
    "days": ("os days", "survival days", "follow up days", "overall survival (days)"),
    "weeks": ("os weeks", "time weeks"),
    "months": ("os months", "overall survival months", "OS (months)", "os mo"),
    "years": ("os years", "follow up years", "OS (years)"),
}
UNTOLD = ("os time", "time", "OS.time", "futime", "survival", "follow up")
EVENTS = ("os event", "status", "event", "death", "os status", "vital status", "OS", "fustat")
#: Ways to code no event and the event.
CODINGS = (
    ("0", "1"),
    ("0", "1"),
    ("0", "1"),
    ("no", "yes"),
    ("FALSE", "TRUE"),
    ("alive", "dead"),
    ("Alive", "Dead"),
    ("LIVING", "DECEASED"),
    ("0:LIVING", "1:DECEASED"),
    ("censored", "event"),
    ("N", "Y"),
)
IDS: Sequence[tuple[Sequence[str], Callable[[int, Rng], str]]] = (
    (("patient id", "patient"), lambda i, r: f"P{i:04d}"),
    (("patient id", "id", "pid"), lambda i, r: f"{i:05d}"),
    (("patient id", "case id", "record no"), lambda i, r: str(1000 + 7 * i)),
    (("patient id", "subject id"), lambda i, r: f"SITE{i % 4}-{i:03d}"),
    (("patient barcode", "case id"), lambda i, r: f"TCGA-{'ABCDEFGH'[i % 8]}{i % 7}-{1000 + i}"),
    (("patient id", "mrn"), lambda i, r: f"{int(r.integers(16**6)):06x}-{i:x}"),
)
COMMENTS = (
    "no complaints",
    "see letter, 2nd page",
    'called "stable" by the ward',
    "# reviewed",
    "seen; to be followed",
    "asked for | given",
    "first line\nsecond line",
    "größer als zuvor",
)
