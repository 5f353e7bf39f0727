"""A bare FastAPI route around ``Bundle.predict``: what the service is measured against."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from fastapi import FastAPI

from accomplice.training.bundle import Bundle

torch.set_num_threads(1)
app = FastAPI()
bundle = Bundle.load(Path(os.environ["ACCOMPLICE_BUNDLE"]))


@app.get("/readyz")
async def ready() -> dict[str, bool]:
    """Say that the server is there."""
    return {"ready": True}


@app.post("/predict")
async def predict(asked: dict[str, Any]) -> list[dict[str, Any]]:
    """Predict for one patient."""
    frame = pd.DataFrame([asked["patient"]])
    return bundle.predict(frame, asked.get("times")).to_dict("records")
