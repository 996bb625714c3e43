"""Networks: one architecture per file, all behind one denoiser call."""

from backend.networks.condition import Condition
from backend.networks.denoiser import Denoiser, Guided, Prediction, PredictionType

__all__ = ["Condition", "Denoiser", "Guided", "Prediction", "PredictionType"]
